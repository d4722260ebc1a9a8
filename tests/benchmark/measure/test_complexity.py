"""Parameters and MACs, compared with counts by hand."""

from __future__ import annotations

import pytest

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.pocketnet import Block, PocketNetArchitecture


def macs_by_hand(architecture: UNetArchitecture, size: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of all convolutions; transposed ones are counted on their input voxels."""
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
def test_macs_equal_the_count_by_hand(architecture: UNetArchitecture, size: tuple[int, ...], macs: int | None) -> None:
    cost = count_complexity(architecture, size)
    assert cost.macs == macs_by_hand(architecture, size)
    assert cost.flops == 2 * cost.macs
    if macs is not None:
        assert cost.macs == macs


@pytest.mark.parametrize(
    ("block", "spatial_dims", "terms"),
    [
        # 8 × 8, one channel, two classes, 4 features doubled once. Level 0: 64 voxels, 9 taps; level 1: 16 voxels.
        # down 0, down 1, transposed convolution (on its 16 input voxels, 4 taps), up 0 from 8 channels, head.
        ("unet", 2, [64 * 9 * (4 + 16), 16 * 9 * (32 + 64), 16 * 4 * 32, 64 * 9 * (32 + 16), 64 * 8]),
        ("resnet", 2, [64 * 9 * (4 + 16), 16 * 9 * (32 + 64), 16 * 4 * 32, 64 * 9 * (32 + 16), 64 * 8]),
        # Dense: the second convolution takes the input and the first one's output; a 1-convolution joins all three.
        (
            "densenet", 2,
            [
                64 * (9 * (4 + (1 + 4) * 4) + (1 + 8) * 4), 16 * (9 * (32 + (4 + 8) * 8) + (4 + 16) * 8), 16 * 4 * 32,
                64 * (9 * (32 + (8 + 4) * 4) + (8 + 8) * 4), 64 * 8,
            ],
        ),
        # 8 × 8 × 3: pooling and upsampling are in-plane, so 192 and 48 voxels, 27 taps.
        ("unet", 3, [192 * 27 * (4 + 16), 48 * 27 * (32 + 64), 48 * 4 * 32, 192 * 27 * (32 + 16), 192 * 8]),
        ("resnet", 3, [192 * 27 * (4 + 16), 48 * 27 * (32 + 64), 48 * 4 * 32, 192 * 27 * (32 + 16), 192 * 8]),
        (
            "densenet", 3,
            [
                192 * (27 * (4 + (1 + 4) * 4) + (1 + 8) * 4), 48 * (27 * (32 + (4 + 8) * 8) + (4 + 16) * 8),
                48 * 4 * 32, 192 * (27 * (32 + (8 + 4) * 4) + (8 + 8) * 4), 192 * 8,
            ],
        ),
    ],
)  # fmt: skip
def test_macs_of_pocketnets_equal_the_count_by_hand(block: Block, spatial_dims: int, terms: list[int]) -> None:
    architecture = PocketNetArchitecture(
        spatial_dims=spatial_dims,  # type: ignore[arg-type]
        in_channels=1,
        out_channels=2,
        depth=1,
        f=4,
        block=block,
        pocket=False,
    )
    assert count_complexity(architecture, (8, 8, 3)[:spatial_dims]).macs == sum(terms)


def test_parameters_of_the_papers_network() -> None:
    assert count_complexity(UNetArchitecture.doubling(3, 1, 2), (16, 16, 16)).parameters == 353_954
