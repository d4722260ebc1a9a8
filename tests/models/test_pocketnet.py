"""Tests of PocketNet's networks: published parameter counts, shapes and blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stampbench.models.errors import ModelError
from stampbench.models.model import build, parameter_count, parse_architecture
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.strategies.registry import STRATEGIES


def network(**settings: Any) -> PocketNetArchitecture:
    """Return a 3D architecture for one input channel and two classes, with `settings` applied."""
    return PocketNetArchitecture(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 2, **settings})


@pytest.mark.parametrize(
    ("block", "full", "pocket"),
    [("unet", 5_470_850, 150_066), ("resnet", 5_470_850, 150_066), ("densenet", 8_127_266, 241_282)],
)
def test_parameter_counts_equal_table_1(block: str, full: int, pocket: int) -> None:
    """Celaya et al. 2022, Table 1: 5.5 M and 0.150 M, 8.1 M and 0.241 M."""
    assert parameter_count(network(block=block, pocket=False)) == full
    assert parameter_count(network(block=block, pocket=True)) == pocket


@pytest.mark.parametrize(
    ("block", "full", "pocket"), [("unet", 544_081, 36_433), ("resnet", 544_081, 36_433), ("densenet", 625_841, 41_921)]
)
def test_parameter_counts_equal_the_logs_behind_table_2(block: str, full: int, pocket: int) -> None:
    """The authors' LiTS code logs these counts: 2D, depth 3, one class."""
    lits = {"spatial_dims": 2, "out_channels": 1, "depth": 3, "construction": "lits2021", "block": block}
    assert parameter_count(network(**lits, pocket=False)) == full
    assert parameter_count(network(**lits, pocket=True)) == pocket


def test_parameter_counts_of_the_2d_networks_with_the_construction_of_table_1() -> None:
    """The paper mentions 50 K parameters, which fits the 2D pocket U-Net."""
    assert parameter_count(network(spatial_dims=2)) == 53_010
    assert parameter_count(network(spatial_dims=2, pocket=False)) == 1_940_834


@pytest.mark.parametrize("construction", ["table1", "lits2021"])
@pytest.mark.parametrize("block", ["unet", "resnet", "densenet"])
@pytest.mark.parametrize(("dims", "size"), [(2, (16, 32)), (3, (16, 32, 5))])
def test_output_has_the_size_of_the_input(construction: str, block: str, dims: int, size: tuple[int, ...]) -> None:
    architecture = network(spatial_dims=dims, block=block, construction=construction, depth=3, f=4, in_channels=2)
    assert build(architecture)(torch.zeros(2, 2, *size)).shape == (2, 2, *size)
    assert architecture.divisors == ((8, 8) if dims == 2 else (8, 8, 1))
    assert parse_architecture(architecture.model_dump_json()) == architecture


def test_residual_blocks_add_the_output_of_their_first_convolution() -> None:
    """When the second convolution is zero, a residual block returns its first one's output and a plain block zero."""
    for block, expected in (("resnet", True), ("unet", False)):
        module = build(network(block=block, f=2, depth=1)).down[0]
        torch.nn.init.zeros_(module.second.weight)
        torch.nn.init.zeros_(module.second.bias)
        image = torch.randn(1, 1, 8, 8, 4)
        first = torch.relu(module.first(image))
        assert torch.equal(module(image), first if expected else torch.zeros_like(first))


def test_no_layer_can_be_pruned_or_get_another_dropout() -> None:
    model = build(network(f=2, depth=1))
    assert not model.architecture.prunable()
    assert model.architecture.layers == model.activations() == {}
    with pytest.raises(ModelError, match="no adjustable dropout"):
        model.set_dropout({"conv1": 0.1})


def test_construction_lits2021_has_depth_3_by_default() -> None:
    pocket = STRATEGIES["pocket_densenet"]
    preset = pocket.load()(**pocket.preset, construction="lits2021")
    assert parameter_count(preset.start(2, 1, 1)) == 41_921
    assert pocket.load()(**pocket.preset, construction="lits2021", depth=4).depth == 4
    assert parameter_count(pocket.load()(**pocket.preset).start(3, 1, 2)) == 241_282
