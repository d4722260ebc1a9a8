"""Tests of saving and loading networks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import build
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet
from stampbench.models.weights import serialization
from stampbench.models.weights.serialization import load_model, save_model


@pytest.fixture
def saved(tmp_path: Path) -> tuple[UNet, Path]:
    """A pruned network, and the folder that it was saved in."""
    model = UNet(UNetArchitecture.doubling(2, 1, 2, f=2, depth=2))
    remove_filters(model, [Filter("conv3", 1), Filter("conv2", 0)])
    save_model(model, tmp_path / "model")
    return model.eval(), tmp_path / "model"


def test_loaded_network_equals_the_saved_pruned_network(saved: tuple[UNet, Path]) -> None:
    model, folder = saved
    loaded = load_model(folder)
    assert loaded.architecture == model.architecture
    image = torch.randn(1, 1, 8, 8)
    assert torch.equal(loaded(image), model(image))


def test_only_json_and_safetensors_are_written(saved: tuple[UNet, Path]) -> None:
    assert sorted(path.name for path in saved[1].iterdir()) == ["architecture.json", "weights.safetensors"]


def test_files_are_written_by_whoever_saves_and_are_those_of_safetensors(saved: tuple[UNet, Path]) -> None:
    model, folder = saved
    written: dict[str, bytes] = {}
    save_model(model, folder, lambda path, content: written.update({path.name: b"".join(content)}))
    assert written == {path.name: path.read_bytes() for path in folder.iterdir()}
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "by_safetensors")
    assert (folder / "by_safetensors").read_bytes() == written["weights.safetensors"]


def test_broken_model_folders_are_reported(saved: tuple[UNet, Path]) -> None:
    _, folder = saved
    weights, architecture = folder / "weights.safetensors", folder / "architecture.json"
    saved_weights, saved_architecture = weights.read_bytes(), architecture.read_text()

    weights.write_bytes(saved_weights[:-100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)
    weights.write_bytes(saved_weights)
    changed = json.loads(saved_architecture)
    changed["convs"][0] += 1
    architecture.write_text(json.dumps(changed))
    with pytest.raises(ModelError, match="does not fit"):
        load_model(folder)
    architecture.write_text('{"family": "unet"}')
    with pytest.raises(ModelError, match="spatial_dims"):
        load_model(folder)
    architecture.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_model(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(saved: tuple[UNet, Path], value: float) -> None:
    _, folder = saved
    weights = load_file(folder / "weights.safetensors")
    weights["head.bias"][1] = value
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"tensor 'head.bias' contains NaN or infinite values"):
        load_model(folder)


def test_weights_of_another_type_are_refused(saved: tuple[UNet, Path]) -> None:
    _, folder = saved
    weights = load_file(folder / "weights.safetensors")
    weights["head.bias"] = weights["head.bias"].half()
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(ModelError, match=r"'head.bias' has type torch.float16, expected torch.float32"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convs": {4: 20_000, 5: 20_000}}, "parameters; at most 536,870,912 are supported"),
        ({"convs": {4: 2_000, 5: 2_000}}, "does not fit"),
        ({"convs": {4: 10**30}}, "convs.4"),
        ({"out_channels": 257}, "out_channels"),
        ({"depth": 8}, "depth"),
        ({"convs": [1] * 255}, "convs"),
    ],
)
def test_architectures_are_bounded_before_they_are_built(
    saved: tuple[UNet, Path], changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = saved
    path = folder / "architecture.json"
    described = json.loads(path.read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            for index, width in value.items():
                described[key][index] = width
        else:
            described[key] = value
    path.write_text(json.dumps(described))
    monkeypatch.setattr(serialization, "build", lambda _: pytest.fail("built"))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_architecture_files_that_cannot_be_read_are_refused(saved: tuple[UNet, Path]) -> None:
    _, folder = saved
    path = folder / "architecture.json"
    for content in (b"[" * 100_000, b"\xff\xfe", b" " * 2**21, b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"architecture\.json: "):
            load_model(folder)


def test_networks_with_too_many_parameters_are_not_built() -> None:
    with pytest.raises(ModelError, match="at most 536,870,912"):
        build(UNetArchitecture.doubling(3, 1, 2, f=1024, depth=7, convs_per_level=16))
