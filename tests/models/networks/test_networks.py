"""Every registered network in 2D and 3D: pruned, saved and exported."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.inference.export import export, onnx_session
from stampbench.models.architecture import Filter
from stampbench.models.model import build, parameter_count
from stampbench.models.pruning import remove_filters
from stampbench.models.registry import NETWORKS
from stampbench.models.removal_check import silence
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.serialization import load_model, save_model

SMALL: dict[str, dict[str, Any]] = {
    "dynunet": {"f": 3, "depth": 2},
    "residual_unet": {"f": 3, "depth": 2},
    "attention_unet": {"f": 3, "depth": 2},
    "flexible_unet": {"f": 8},
    "half_unet": {"f": 6, "depth": 2},
    "simple_unet": {"f": 6, "depth": 2},
    "tiny_unet": {"f": 32, "depth": 2},
}
"""Hyperparameters of small networks; others have `f` = 3."""
SLOW = {"flexible_unet", "mednext_s"}
"""Networks whose tests take long, because they have many layers."""

CASES = [
    pytest.param(name, dims, marks=[pytest.mark.slow] if name in SLOW else [], id=f"{name}-{dims}d")
    for name in NETWORKS
    for dims in (2, 3)
]


def small(name: str, spatial_dims: int) -> TracedModel:
    """Return a small network with random values in everything that initialisation leaves constant."""
    network = NETWORKS[name].load()
    if spatial_dims not in network.spatial_dims:
        pytest.skip(f"{name} does not exist in {spatial_dims}D")
    torch.manual_seed(0)
    settings = SMALL.get(name, {"f": 3} if "f" in network.model_fields else {})
    model = build(TracedArchitecture.unpruned(name, network(**settings), spatial_dims, 2, 3))
    assert isinstance(model, TracedModel)
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            nn.init.uniform_(value, 0.5, 2)
        elif value.is_floating_point() and value.numel() == max(value.shape, default=1):  # one number per channel
            nn.init.normal_(value, std=0.5)
            if key.endswith("weight"):
                value += 1
    return model.eval()


def images(model: TracedModel, number: int = 2) -> Tensor:
    """Return random images of a size in which even the lowest level has several voxels."""
    sizes = [max(2 * each, 8) for each in model.architecture.divisors]
    return torch.randn(number, 2, *sizes, generator=torch.Generator().manual_seed(1))


def prune(model: TracedModel, times: int) -> dict[str, list[int]]:
    """Prune random filters of random layers; return their numbers in the unpruned network."""
    rng = random.Random(0)
    left = {layer: list(range(width)) for layer, width in model.architecture.layers.items()}
    removed: dict[str, list[int]] = {layer: [] for layer in left}
    for _ in range(times):
        chosen = []
        for layer in rng.sample(sorted(left), min(3, len(left))):
            if len(left[layer]) > 1:
                chosen.append(Filter(layer, rng.randrange(len(left[layer]))))
                removed[layer].append(left[layer].pop(chosen[-1].channel))
        remove_filters(model, chosen)
    return removed


@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_pruned_equals_read_as_zeros_and_survives_saving(name: str, spatial_dims: int, tmp_path: Path) -> None:
    model = small(name, spatial_dims)
    before = copy.deepcopy(model).double()
    removed = prune(model, 20)
    assert sum(map(len, removed.values())) >= 10
    assert sum(each.numel() for each in model.parameters()) == parameter_count(model.architecture)
    x = images(model)
    save_model(model, tmp_path)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path)(x), model(x))
        silent = copy.deepcopy(before)
        silence(silent, [Filter(layer, each) for layer, channels in removed.items() for each in channels])
        found, expected = model.double()(x.double()), silent(x.double())
        scale = expected.abs().max()
        assert scale > 0
        assert (found - expected).abs().max() < 1e-9 * scale
        assert (expected.amax((0, *range(2, expected.ndim))) - expected.amin((0, *range(2, expected.ndim)))).max() > (
            1e-3 * scale
        ), "the output is constant"
        assert (found - before(x.double())).abs().max() > 1e-3 * scale


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_pruned_network_is_exported(name: str, spatial_dims: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = small(name, spatial_dims)
    prune(model, 3)
    x, path = images(model, 1), tmp_path / "model.onnx"
    export(model, x, path, "onnx")
    with torch.no_grad():
        logits = model(x)
    # An untrained network may find one class everywhere; around their means, the logits find several.
    space = tuple(range(2, logits.ndim))
    means = logits.mean(space, keepdim=True)
    best = (logits - means).topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-3 * logits.abs().max()
    labels = (logits - means).argmax(1)[clear]
    exported = torch.from_numpy(onnx_session(path)(x.numpy()))
    assert torch.equal((exported - means).argmax(1)[clear], labels)
    assert len(labels.unique()) > 1


@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_every_layer_is_watched_once(name: str, spatial_dims: int) -> None:
    model = small(name, spatial_dims)
    seen: list[str] = []

    def see(layer: str, signal: Tensor) -> None:
        assert signal.shape[:2] == (2, model.architecture.layers[layer])
        seen.append(layer)

    x = images(model)
    with torch.no_grad():
        plain = model(x)
    with model.watched(see):
        watched = model(x)
    assert sorted(seen) == sorted(model.architecture.layers)
    assert torch.equal(watched, plain)
