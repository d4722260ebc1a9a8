"""TinyU-Net: its published size, and its block against the paper's description."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.models.networks.tiny_unet import CascadedBlock, TinyUNet, Unit
from stampbench.models.tracing.traced_architecture import TracedArchitecture


@pytest.mark.parametrize(("classes", "parameters", "published"), [(2, 481_170, 3.33), (4, 481_300, 3.34)])
def test_size_of_the_paper(classes: int, parameters: int, published: float) -> None:
    """Tables 1 and 2: 0.48 M parameters, 3.33 and 3.34 GFLOPs for 3 × 256 × 256, normalisation included."""
    network = TinyUNet()
    found = count_complexity(TracedArchitecture.unpruned("tiny_unet", network, 2, 3, classes), (256, 256))
    assert found.parameters == parameters
    with torch.device("meta"):
        module, image = network.build(2, 3, classes).eval(), torch.empty(1, 3, 256, 256)
    normalised = 0

    def count(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal normalised
        normalised += output.numel()

    for norm in (each for each in module.modules() if isinstance(each, nn.BatchNorm2d)):
        norm.register_forward_hook(count)
    module(image)
    # The authors' counter takes four operations for every normalised value: minus, divide, times, plus.
    assert (found.flops + 4 * normalised * 2) / 1e9 == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_block_is_that_of_the_paper(spatial_dims: int) -> None:
    """One pointwise unit whose channels are taken alternately, as in the paper's Fig. 2 (N = 8)."""
    torch.manual_seed(0)
    block, c = CascadedBlock(spatial_dims, 5, 32).eval(), 2
    x = torch.randn(2, 5, *[8] * spatial_dims)
    pointwise = Unit(spatial_dims, 5, 2 * c).eval()
    for target, odd, even in zip(pointwise.parameters(), block.odd.parameters(), block.even.parameters(), strict=True):
        target.data[0::2], target.data[1::2] = odd.data, even.data
    with torch.no_grad():
        y = pointwise(x)
        odd, even = y[:, 0::2], y[:, 1::2]
        outputs = [odd + even]
        for unit in block.cascade:
            even = unit(even)
            outputs.append(even)
        assert torch.allclose(block(x), block.last(torch.cat(outputs, 1)), atol=1e-6)
    assert len(block.cascade) == 7
