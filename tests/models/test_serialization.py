"""Tests of saving and loading networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.pruning import remove_filters
from stampbench.models.serialization import load_model, save_model
from stampbench.models.unet import UNet


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
