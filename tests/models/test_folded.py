"""Batch normalisation folded into weights, with the network as it was trained as the reference."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.folded import FoldedUnit, folded
from stampbench.models.model import Kernels, build
from stampbench.models.networks.swift import SwiftUNet
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.unet import ConvUnit, UNet


def give_statistics(model: nn.Module) -> None:
    """Give every BatchNorm layer random weights, also negative and zero ones, and random statistics."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.weight.data[::5] = 0
            module.running_mean = torch.randn_like(module.weight).detach()
            module.running_var = torch.rand_like(module.weight).detach() + 1e-3
    model.eval()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 20),
    st.lists(st.integers(1, 6), min_size=2, max_size=3),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_a_unit_is_the_same_function_at_every_voxel(
    images: int, inputs: int, outputs: int, size: list[int], fast: bool, seed: int
) -> None:
    """In float64 to rounding, in images of a single voxel too, where all but one weight see the border."""
    torch.manual_seed(seed)
    unit, x = ConvUnit(len(size), inputs, outputs).double(), torch.randn(images, inputs, *size).double()
    give_statistics(unit)
    with torch.inference_mode():
        torch.testing.assert_close(FoldedUnit(unit)(x, fast), unit(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_network_is_the_same_function(spatial_dims: int, kernels: Kernels) -> None:
    """Pooling, skips, transposed convolutions and the head see the same numbers, in a batch and in a single image."""
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(spatial_dims, 2, 3, f=3, depth=2), kernels)
    give_statistics(model)
    weights = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 2, *(12, 8, 20)[:spatial_dims])
    with torch.inference_mode():
        for x in (images, images[:1]):
            exact = copy.deepcopy(model).double()(x.double())
            torch.testing.assert_close(folded(model.double())(x.double()), exact, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(folded(model.float())(x).double(), exact, rtol=1e-4, atol=1e-5)
    for name, each in model.state_dict().items():
        assert torch.equal(each, weights[name]), f"{name} of the original network has changed"


def test_one_convolution_and_one_pass_are_left() -> None:
    model = folded(build(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1), "fast"))
    assert not [each for each in model.modules() if isinstance(each, nn.BatchNorm2d | nn.ReLU)]


def test_the_u_net_within_a_swift_network_is_folded() -> None:
    torch.manual_seed(0)
    swift = TracedArchitecture.unpruned("swift_unet", SwiftUNet(f=3, depth=1, refine=2), 3, 1, 2)
    model = build(swift, "fast")
    give_statistics(model)
    images = torch.randn(1, 1, 8, 12, 4)
    found = folded(model)
    (unet,) = [each for each in found.modules() if isinstance(each, UNet)]
    assert unet.kernels == "fast"
    assert all(isinstance(each, FoldedUnit) and not each.conv._forward_pre_hooks for each in unet.units)
    with torch.inference_mode():
        torch.testing.assert_close(found(images), model(images), rtol=1e-4, atol=1e-5)
        exact = model.double()(images.double())
        torch.testing.assert_close(folded(model)(images.double()), exact, rtol=1e-10, atol=1e-10)


def test_a_network_without_such_units_computes_the_same() -> None:
    model = build(PocketNetArchitecture(spatial_dims=2, in_channels=1, out_channels=2, f=2, depth=1)).eval()
    images = torch.randn(1, 1, 4, 4)
    assert torch.equal(folded(model)(images), model(images))
