"""SimpleUNet: its published size, and what weighs its channels."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.models.networks.simple_unet import ChannelScale, SimpleUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def complexity(**settings: int) -> tuple[int, ...]:
    network = SimpleUNet(rectified_head=True, **settings)
    return count_complexity(TracedArchitecture.unpruned("simple_unet", network, 2, 3, 2), (256, 256))


def test_size_of_the_paper() -> None:
    """The 16 K configuration: 16,244 parameters as the authors count, without the factors of 4 · 2 · 8 channels."""
    assert complexity(f=16)[0] - 4 * 2 * 8 == 16_244
    assert complexity(f=32)[0] - 4 * 2 * 16 == 63_460


@pytest.mark.parametrize(
    ("f", "blocks", "parameters", "gigaflops"),
    [(16, 1, 16_308, 0.382), (32, 2, 112_388, 2.216), (64, 3, 639_812, 11.84)],
)
def test_sizes_of_the_authors_code(f: int, blocks: int, parameters: int, gigaflops: float) -> None:
    found = complexity(f=f, blocks=blocks)
    assert found[0] == parameters
    assert found[2] / 1e9 == pytest.approx(gigaflops, abs=0.005)


def test_factors_weigh_channels() -> None:
    scale = ChannelScale(3, 2)
    x = torch.randn(1, 2, 4, 4, 4)
    assert torch.equal(scale(x), x)
    scale.weight.data[1] = 0.5
    assert torch.equal(scale(x)[:, 1], 0.5 * x[:, 1])


def test_logits_may_be_negative_unless_the_head_is_rectified() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 1, 32, 32)
    assert SimpleUNet(f=8).build(2, 1, 8)(image).min() < 0
    assert SimpleUNet(f=8, rectified_head=True).build(2, 1, 8)(image).min() == 0
