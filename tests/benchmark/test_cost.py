"""Counts against hand computations."""

from __future__ import annotations

import pytest

from stampbench.benchmark.cost import count
from stampbench.models.architecture import Filter, UNetArchitecture


def by_hand(architecture: UNetArchitecture, size: tuple[int, ...]) -> int:
    """Multiply-accumulates of every convolution, transposed ones on their input voxels."""
    dims, depth, per = architecture.spatial_dims, architecture.depth, architecture.convs_per_level
    voxels = [1] * (depth + 1)
    for level in range(depth + 1):
        for edge in size:
            voxels[level] *= edge // 2**level
    total, channels, skips = 0, architecture.in_channels, []
    for block in range(2 * depth + 1):
        level = block if block <= depth else 2 * depth - block
        if block > depth:
            up = architecture.upconvs[block - depth - 1]
            total += voxels[level + 1] * channels * up * 2**dims
            channels = up + skips.pop()
        for position in range(block * per, (block + 1) * per):
            total += voxels[level] * channels * architecture.convs[position] * 3**dims
            channels = architecture.convs[position]
        if block < depth:
            skips.append(channels)
    return total + voxels[0] * channels * architecture.out_channels


@pytest.mark.parametrize(
    ("architecture", "size", "macs"),
    [
        (UNetArchitecture.doubling(3, 1, 3), (48, 64, 48), 538_140_672),
        (UNetArchitecture.flat(3, 1, 3, f=8), (48, 64, 48), 1_247_159_808),
        (UNetArchitecture.doubling(2, 2, 3), (64, 32), None),
        (
            UNetArchitecture.doubling(2, 1, 2).without([Filter("conv2", 0), Filter("conv9", 3)]),
            (16, 16),
            None,
        ),
    ],
)
def test_macs_are_those_counted_by_hand(
    architecture: UNetArchitecture, size: tuple[int, ...], macs: int | None
) -> None:
    cost = count(architecture, size)
    assert cost.macs == by_hand(architecture, size)
    assert cost.flops == 2 * cost.macs
    if macs is not None:
        assert cost.macs == macs


def test_parameters() -> None:
    assert count(UNetArchitecture.doubling(3, 1, 2), (16, 16, 16)).parameters == 353_954
