"""The swift network: space-to-depth, its size by hand, and what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.models.model import build, parameter_count
from stampbench.models.networks.swift import SwiftUNet, depth_to_space, space_to_depth
from stampbench.models.testing import check_network
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def test_space_to_depth_is_that_of_pytorch_in_2d() -> None:
    image = torch.randn(2, 3, 8, 12)
    assert torch.equal(space_to_depth(image, (2, 2)), nn.functional.pixel_unshuffle(image, 2))
    assert torch.equal(space_to_depth(image, (4, 4)), nn.functional.pixel_unshuffle(image, 4))


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (4, 2), (2, 2, 1), (4, 2, 2)])
def test_depth_to_space_is_the_inverse(strides: tuple[int, ...]) -> None:
    image = torch.randn(2, 3, 8, 16, *[4] * (len(strides) - 2))
    assert torch.equal(depth_to_space(space_to_depth(image, strides), strides), image)


def test_voxels_of_a_block_become_channels_in_order() -> None:
    image = torch.arange(16.0).reshape(1, 1, 2, 2, 4)
    found = space_to_depth(image, (2, 2, 1))
    assert found.shape == (1, 4, 1, 1, 4)
    assert found[0, :, 0, 0, 0].tolist() == [0, 4, 8, 12]


def test_parameters_by_hand() -> None:
    f, depth, classes = 8, 2, 3
    unit = f * f * 9 + f + 2 * f
    # A level has two units; the first one reads 4 channels, each of the decoder's first ones twice as many.
    units = (4 * f * 9 + f + 2 * f) + (2 * (2 * depth + 1) - 1) * unit + depth * f * f * 9
    expected = units + depth * (f * f * 4 + f) + f * 4 * classes + 4 * classes
    refinement = (1 + classes) * 5 * 9 + 5 + 2 * 5 + 5 * classes + classes
    for refine, more in ((0, 0), (5, refinement)):
        network = SwiftUNet(f=f, depth=depth, refine=refine)
        assert parameter_count(TracedArchitecture.unpruned("swift_unet", network, 2, 1, classes)) == expected + more


@pytest.mark.parametrize(
    ("spatial_dims", "settings"),
    [(2, {"refine": 3}), (2, {"stride": 4, "depth": 1}), (3, {"stride_last": 1, "depth": 1})],
)
def test_it_conforms(spatial_dims: int, settings: dict[str, Any], tmp_path: Path) -> None:
    check_network(SwiftUNet(f=3, **{"depth": 2, **settings}), spatial_dims, tmp_path)


def test_thick_slices_keep_their_number() -> None:
    architecture = TracedArchitecture.unpruned("swift_unet", SwiftUNet(f=2, depth=1, stride_last=1), 3, 1, 2)
    assert architecture.divisors == (4, 4, 2)
    assert build(architecture).eval()(torch.zeros(1, 1, 8, 8, 6)).shape == (1, 2, 8, 8, 6)


@pytest.mark.parametrize("images", [1, 2])
def test_fast_kernels_rank_and_drop_the_same_filters(images: int) -> None:
    model = build(TracedArchitecture.unpruned("swift_unet", SwiftUNet(f=3, depth=1), 3, 1, 2))
    x = torch.randn(images, 1, 8, 8, 8)
    found: dict[str, list[Tensor]] = {}
    for model.kernels in ("plain", "fast"):  # type: ignore[assignment]
        signals = found.setdefault(model.kernels, [])
        with torch.no_grad(), model.watched(lambda _, signal, signals=signals: signals.append(signal)):  # type: ignore[misc]
            model.eval()(x)
        assert len(signals) == len(model.architecture.layers)
        model.set_dropout(dict.fromkeys(model.architecture.layers, 0.5))
        torch.manual_seed(3)
        signals.append(model.train()(x).detach())
        model.set_dropout(dict.fromkeys(model.architecture.layers, 0.0))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.reset_running_stats()
    for plain, fast in zip(found["plain"], found["fast"], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
