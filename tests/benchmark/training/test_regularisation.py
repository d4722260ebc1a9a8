"""Regularisation of layers' outputs: the loss that it adds, and the gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.training.regularisation import Regularisation
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Kernels, build
from stampbench.models.networks.half_unet import HalfUNet
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.strategies.channel_distance import mean_distance_to_first

ARCHITECTURES: list[Any] = [
    UNetArchitecture.doubling(2, 1, 2, f=4, depth=2, prune_upconvs=True),
    TracedArchitecture.unpruned("half_unet", HalfUNet(f=8, depth=2), 2, 1, 2),
]


def gradients(architecture: Any, kernels: Kernels, weight: float) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = build(architecture, kernels).train()
    image = torch.randn(3, 1, 16, 16)
    regularisation = Regularisation("channel_distance", weight)
    with regularisation.watching(model) as terms:
        loss = regularisation.added(model(image).square().mean(), terms)
    assert len(terms) == len(architecture.layers)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=["unet", "half_unet"])
def test_adds_the_mean_over_layers(architecture: Any) -> None:
    plain, without = gradients(architecture, "plain", 0.0)
    loss, found = gradients(architecture, "plain", 0.5)
    torch.manual_seed(0)
    model = build(architecture).train()
    image, signals = torch.randn(3, 1, 16, 16), []
    with model.watched(lambda _, output: signals.append(output.detach().clone())):
        model(image)
    expected = sum(mean_distance_to_first(each).item() for each in signals) / len(signals)
    assert loss - plain == pytest.approx(0.5 * expected, rel=1e-4)
    assert any(not torch.allclose(found[name], without[name]) for name in without)
    assert all(each.isfinite().all() for each in found.values())


def test_fast_kernels_have_the_same_gradients() -> None:
    loss, found = gradients(ARCHITECTURES[0], "fast", 0.5)
    expected_loss, expected = gradients(ARCHITECTURES[0], "plain", 0.5)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, each in expected.items():
        assert torch.allclose(found[name], each, rtol=1e-3, atol=1e-6), name


def test_what_cannot_be_watched_is_refused() -> None:
    pocket = build(PocketNetArchitecture(spatial_dims=2, in_channels=1, out_channels=2, f=2, depth=1))
    regularisation = Regularisation("channel_distance", 1.0)
    with pytest.raises(TrainingFailedError, match="PocketNet"), regularisation.watching(pocket):
        pass
    model = build(ARCHITECTURES[0])
    model.save_memory = True
    with pytest.raises(UserError, match="trains without saving memory"), regularisation.watching(model):
        pass
