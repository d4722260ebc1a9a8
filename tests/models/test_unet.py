"""Tests of the U-Net: parameter counts of the papers and their code, shapes, dropout and initialisation."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import parameter_count
from stampbench.models.unet import UNet
from stampbench.models.weights.initialisation import xavier


def parameters(architecture: UNetArchitecture) -> int:
    """Return the number of parameters of a built U-Net."""
    return sum(parameter.numel() for parameter in UNet(architecture).parameters())


@pytest.mark.parametrize(("f", "expected"), [(2, 88_810), (4, 353_954), (8, 1_413_250)])
def test_doubling_unet_has_the_published_parameter_count(f: int, expected: int) -> None:
    assert parameters(UNetArchitecture.doubling(3, 1, 2, f=f)) == expected


@pytest.mark.parametrize(
    ("flat", "f", "depth", "convs_per_level", "expected"),
    [
        (False, 4, 4, 2, 353_949),
        (True, 4, 4, 2, 9_929),
        (True, 8, 4, 2, 39_025),
        (False, 24, 3, 3, 4_802_521),
        (True, 24, 3, 3, 373_777),
        (True, 12, 3, 3, 94_009),
    ],
)
def test_lean_unet_families_have_the_parameter_counts_of_their_code(
    flat: bool, f: int, depth: int, convs_per_level: int, expected: int
) -> None:
    make = UNetArchitecture.flat if flat else UNetArchitecture.doubling
    assert parameters(make(3, 1, 1, f=f, depth=depth, convs_per_level=convs_per_level)) == expected


def test_2d_parameter_count_follows_from_the_3d_one() -> None:
    """Only kernels change, from 3³ to 3² and from 2³ to 2²; biases, BatchNorm and head are counted by hand."""
    f, c, d = 4, 1, 2
    levels = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    inputs_outputs = [(c, f), *[(a, b) for a, b in itertools.pairwise(levels)]]
    inputs_outputs += [(width, width) for width in levels]
    inputs_outputs += [pair for width in levels[:-1] for pair in ((2 * width, width), (width, width))]
    convolutions = sum(i * o * 3**d + o + 2 * o for i, o in inputs_outputs)
    upconvolutions = sum(2 * width * width * 2**d + width for width in levels[:-1])
    assert parameters(UNetArchitecture.doubling(d, c, 3, f=f)) == convolutions + upconvolutions + 3 * f + 3


@settings(max_examples=40)
@given(st.data(), st.sampled_from([2, 3]), st.integers(1, 3), st.integers(2, 4), st.integers(1, 3), st.integers(1, 3))
def test_counted_parameters_are_those_of_the_module(
    data: st.DataObject, spatial_dims: Literal[2, 3], channels: int, classes: int, depth: int, convs_per_level: int
) -> None:
    widths = st.integers(1, 9)
    levels = (2 * depth + 1) * convs_per_level
    convs = data.draw(st.lists(widths, min_size=levels, max_size=levels))
    upconvs = data.draw(st.lists(widths, min_size=depth, max_size=depth))
    architecture = UNetArchitecture(
        spatial_dims=spatial_dims, in_channels=channels, out_channels=classes, depth=depth,
        convs=tuple(convs), upconvs=tuple(upconvs),
    )  # fmt: skip
    assert architecture.parameters == parameter_count(architecture) == parameters(architecture)


def test_default_unet_has_17_prunable_layers_with_364_filters() -> None:
    layers = UNetArchitecture.doubling(3, 1, 2).layers
    assert list(layers) == [f"conv{position}" for position in range(1, 18)]
    assert sum(layers.values()) == 364


def test_prune_upconvs_makes_transposed_convolutions_prunable() -> None:
    layers = UNetArchitecture.doubling(2, 1, 2, prune_upconvs=True).layers
    assert [layers[f"up{step}"] for step in (1, 2, 3, 4)] == [32, 16, 8, 4]


@pytest.mark.parametrize(("dims", "size"), [(2, (32, 16)), (3, (16, 32, 16))])
def test_output_has_a_channel_per_class_and_the_input_size(dims: int, size: tuple[int, ...]) -> None:
    model = UNet(UNetArchitecture.doubling(dims, 2, 3))
    assert model(torch.zeros(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 2, 16, 17), (1, 2, 16, 16, 16)])
def test_input_of_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    model = UNet(UNetArchitecture.doubling(2, 2, 3))
    with pytest.raises(ModelError, match="input of"):
        model(torch.zeros(shape))


def test_architecture_round_trips_through_json() -> None:
    architecture = UNetArchitecture.doubling(3, 1, 2).without([Filter("conv9", 5)])
    assert UNetArchitecture.model_validate_json(architecture.model_dump_json()) == architecture
    assert architecture.convs[8] == 63


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([Filter("conv18", 0)], "layer 'conv18': not a prunable layer"),
        ([Filter("up1", 0)], "layer 'up1': not a prunable layer"),
        ([Filter("conv1", 4)], "filter 4 does not exist; valid filters are 0 to 3"),
        ([Filter("conv1", 1), Filter("conv1", 1)], "listed twice"),
        ([Filter("conv1", index) for index in range(4)], "all filters would be removed"),
    ],
)
def test_impossible_removals_are_refused(filters: list[Filter], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        UNetArchitecture.doubling(3, 1, 2).without(filters)


def test_dropout_is_set_per_layer_but_never_in_the_last_unit() -> None:
    model = UNet(UNetArchitecture.doubling(2, 1, 2))
    model.set_dropout(dict.fromkeys(model.architecture.layers, 0.3))
    assert [model.layer(f"conv{position}").dropout.p for position in range(1, 19)] == [0.3] * 17 + [0.0]
    with pytest.raises(ModelError, match="conv18"):
        model.set_dropout({"conv18": 0.1})


def test_dropout_drops_whole_channels() -> None:
    torch.manual_seed(0)
    unit = UNet(UNetArchitecture.doubling(2, 1, 2)).layer("conv10")
    unit.dropout.p = 0.5
    output = unit.train()(torch.rand(4, 64, 8, 8))
    dropped = (output == 0).flatten(2).all(2)
    assert ((output == 0).flatten(2).float().mean(2)[~dropped] < 1).all()
    assert 0.3 < dropped.float().mean() < 0.7


def test_xavier_draws_within_the_uniform_bounds_and_sets_zero_biases() -> None:
    """The bounds of Glorot and Bengio are ± sqrt(6 / (fan_in + fan_out))."""
    model = UNet(UNetArchitecture.doubling(3, 1, 2))
    xavier(model)
    conv = model.layer("conv2").conv
    bound = (6 / (4 * 27 + 4 * 27)) ** 0.5
    assert 0.9 * bound < conv.weight.abs().max() <= bound
    assert not conv.bias.any()
