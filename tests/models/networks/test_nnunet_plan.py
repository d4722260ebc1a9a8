"""Planning of nnU-Net's strides and kernels, compared with plans that were worked out by hand from its rules."""

from __future__ import annotations

import pytest

from stampbench.models.networks.nnunet_plan import plan_levels


@pytest.mark.parametrize(
    ("size", "spacing", "halvings"),
    [
        ((128, 128, 128), (1, 1, 1), (5, 5, 5)),
        ((64, 64, 64), (1, 1, 1), (4, 4, 4)),
        ((40, 56, 40), (1, 1, 1), (3, 3, 3)),  # hippocampus: 40 → 20 → 10 → 5
        ((80, 192, 160), (1.37, 1.25, 1.25), (4, 5, 5)),  # heart
        ((28, 256, 224), (3, 0.75, 0.75), (2, 5, 5)),
        ((16, 256, 224), (10, 1.5, 1.5), (2, 5, 5)),
        ((12, 12, 12), (1, 1, 1), (1, 1, 1)),  # 6 voxels are not halved again
        ((256, 256), (1, 1), (6, 6)),
        ((320, 256), (1.25, 1.25), (6, 6)),
        ((8, 12), (1, 1), (1, 1)),
        ((8, 4), (1, 1), (0, 0)),  # a single axis needs 12 voxels
        ((12, 4), (1, 1), (1, 0)),
        ((208, 208), (1, 1), (4, 4)),  # 13 is odd; nnU-Net would enlarge the images to 224
    ],
)
def test_axes_are_halved_as_often_as_nnunet_halves_them(
    size: tuple[int, ...], spacing: tuple[float, ...], halvings: tuple[int, ...]
) -> None:
    strides, kernels = plan_levels(size, spacing)
    assert len(strides) == len(kernels)
    assert strides[0] == (1,) * len(size)
    assert tuple(axis.count(2) for axis in zip(*strides, strict=True)) == halvings


def test_thick_slices_are_not_halved_or_convolved_before_the_spacings_are_similar() -> None:
    """The prostate of the decathlon: slices of 3.6 mm, pixels of 0.625 mm."""
    strides, kernels = plan_levels((20, 320, 256), (3.6, 0.625, 0.625))
    inplane, whole = (1, 2, 2), (2, 2, 2)
    assert strides == ((1, 1, 1), inplane, inplane, whole, whole, inplane, inplane)
    assert kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert plan_levels((320, 256, 20), (0.625, 0.625, 3.6))[0][1] == (2, 2, 1)  # the order of axes does not matter
