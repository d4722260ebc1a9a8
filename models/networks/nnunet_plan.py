"""Strides and kernels of nnU-Net's network, planned from image size and spacing (Isensee et al. 2021, v2 of the code).

The rules are those of nnU-Net v2's default planner. Its patch size, batch size and resampling are not planned here: the
size and the spacing are those that a dataset has.
"""

from __future__ import annotations

from collections.abc import Sequence

Levels = tuple[tuple[int, ...], ...]
"""A number for each level and spatial axis, the full size first."""

_SMALLEST = 4
"""Edges are halved as long as the result has so many voxels."""


def plan_levels(size: Sequence[int], spacing: Sequence[float]) -> tuple[Levels, Levels]:
    """Return the strides and the kernel sizes of every level.

    An axis is halved while it has at least 8 voxels, can be halved without a remainder, and its spacing is less than
    twice the smallest one of such axes; a last single axis needs 12 voxels. Kernels have 1 voxel along axes whose
    spacing is at least twice the smallest one, until halving has made the spacings similar, and 3 voxels from then on.

    Args:
        size: Spatial size of the images that the network sees, in voxels.
        spacing: Edges of a voxel in any unit.
    """
    edges, widths = list(size), list(spacing)
    kernel = [1] * len(edges)
    strides, kernels = [(1,) * len(edges)], []
    while halved := _halved_axes(edges, widths):
        kernel = [3 if k == 3 or w / min(widths) < 2 else 1 for k, w in zip(kernel, widths, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(len(edges))))
        for axis in halved:
            edges[axis] //= 2
            widths[axis] *= 2
    return tuple(strides), (*kernels, (3,) * len(edges))


def _halved_axes(edges: Sequence[int], widths: Sequence[float]) -> list[int]:
    """Return the axes that the next level halves."""
    large = [axis for axis, edge in enumerate(edges) if edge >= 2 * _SMALLEST and edge % 2 == 0]
    finest = min((widths[axis] for axis in large), default=0.0)
    similar = [axis for axis in large if widths[axis] / finest < 2]
    return [] if len(similar) == 1 and edges[similar[0]] < 3 * _SMALLEST else similar
