"""nnU-Net's plain network: planned hyperparameters, size, heads and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from stampbench.models.errors import ModelError
from stampbench.models.model import build, parameter_count
from stampbench.models.networks.nnunet import NNUNetReference
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def test_filters_are_doubled_up_to_320_in_3d_and_512_in_2d() -> None:
    assert NNUNetReference().planned((128,) * 3, (1.0,) * 3).widths(3) == (32, 64, 128, 256, 320, 320)
    assert NNUNetReference().planned((256,) * 2, (1.0,) * 2).widths(2) == (32, 64, 128, 256, 512, 512, 512)
    assert NNUNetReference(f=8, most_filters=16).planned((32,) * 2, (1.0,) * 2).widths(2) == (8, 16, 16, 16)


def test_values_that_are_set_stay() -> None:
    network = NNUNetReference.model_validate({"strides": "[[1, 1], [2, 2], [2, 1]]", "filters": "[4, 6, 8]"})
    planned = network.planned((128, 128), (1.0, 1.0))
    assert (planned.strides, planned.filters) == (((1, 1), (2, 2), (2, 1)), (4, 6, 8))
    assert planned.kernels == ((3, 3),) * 3
    assert planned.planned((32, 32), (1.0, 9.0)) == planned
    assert planned.divisors(2) == (4, 2)


@pytest.mark.parametrize(
    ("dims", "classes", "size", "published"),
    [(3, 2, (128,) * 3, 31_195_594), (2, 2, (256,) * 2, 33_471_820)],
)
def test_parameters_are_those_of_nnunets_plain_network(
    dims: int, classes: int, size: tuple[int, ...], published: int
) -> None:
    """nnU-Net's has biases before InstanceNorm, which have no effect, and a head on the lowest level of its decoder."""
    network = NNUNetReference().planned(size, (1.0,) * dims)
    architecture = TracedArchitecture.unpruned("nnunet_reference", network, dims, 1, classes)
    widths = network.widths(dims)
    biases = 2 * sum(widths) + 2 * sum(widths[:-1])
    lowest_head = (widths[-2] + 1) * classes
    assert parameter_count(architecture) == published - biases - lowest_head


def test_convolutions_have_the_kernels_of_their_level_in_the_decoder_too() -> None:
    """DynUNet itself takes the kernels of the level below there."""
    network = NNUNetReference(f=2).planned((8, 32, 32), (4.0, 1.0, 1.0))
    assert network.kernels[:2] == ((1, 3, 3), (1, 3, 3))
    module = network.build(3, 1, 2)
    for level, block in enumerate(reversed(list(module.upsamples))):  # type: ignore[arg-type]
        kernels = {each.kernel_size for each in block.conv_block.modules() if isinstance(each, nn.Conv3d)}
        assert kernels == {network.kernels[level]}


def test_training_returns_logits_of_all_levels_but_the_lowest_two() -> None:
    """nnU-Net's loss gives the second lowest level weight 0; the lowest one has no head."""
    network = NNUNetReference(f=2).planned((8, 32, 32), (3.0, 1.0, 1.0))
    architecture = TracedArchitecture.unpruned("nnunet_reference", network, 3, 1, 2)
    model, image = build(architecture), torch.zeros(1, 1, 8, 32, 32)
    assert network.strides == ((1, 1, 1), (1, 2, 2), (2, 2, 2), (1, 2, 2))
    assert [tuple(each.shape) for each in model.train()(image)] == [(1, 2, 8, 32, 32), (1, 2, 8, 16, 16)]
    assert model.eval()(image).shape == (1, 2, 8, 32, 32)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"strides": [[1, 1], [2, 2]]}, "2 levels, because images are halved as long as 4 voxels remain"),
        ({"filters": [2, 4]}, "filters has 2 levels, strides has 4"),
        ({"kernels": [[3, 3], [3, 3], [3, 3]]}, "kernels has 3 levels, strides has 4"),
        ({"strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]}, r"strides \(1, 1, 1\) are not 2 numbers"),
        ({"kernels": [[3, 3], [2, 3], [3, 3], [3, 3]]}, r"kernels \(2, 3\) are not odd"),
    ],
)
def test_levels_that_do_not_fit_are_refused(values: dict[str, Any], problem: str) -> None:
    network = NNUNetReference.model_validate(values)
    with pytest.raises(ModelError, match=f"network 'nnunet_reference': {problem}"):
        network.planned((32, 32), (1.0, 1.0))


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ModelError, match=r"2 levels.*choose larger images"):
        NNUNetReference().planned((12, 12, 12), (1.0,) * 3)
