"""Overlap and surface distances of one predicted mask and its reference.

A surface is a mask's voxels that one face-connected erosion removes, as MONAI defines it; distances are
between voxel centres. Where a mask is empty the conventions are ours: both empty is a perfect result,
one empty costs the diagonal of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

Mask = NDArray[np.bool_]
Empty = Literal["", "both", "reference", "prediction"]


class MaskScores(NamedTuple):
    """Dice in 0 to 1; Hausdorff, its 95th percentile and the mean surface distance in units of the spacing.

    `empty` says which masks have no voxel, so that tables can count these cases.
    """

    dice: float
    hausdorff: float
    hd95: float
    msd: float
    empty: Empty


def score_masks(prediction: Mask, reference: Mask, spacing: Sequence[float]) -> MaskScores:
    """Score one mask; `spacing` is the voxel edge length per axis.

    Hausdorff is the largest distance, HD95 the larger of the two directed 95th percentiles, MSD the mean
    over both surfaces' distances together.

    Raises:
        ValueError: shapes differ, or spacing does not fit them.
    """
    if prediction.shape != reference.shape or len(spacing) != reference.ndim:
        raise ValueError(f"masks {prediction.shape} and {reference.shape} with spacing {tuple(spacing)}")
    empty = _empty(prediction, reference)
    if empty == "both":
        return MaskScores(1.0, 0.0, 0.0, 0.0, empty)
    if empty:
        diagonal = math.hypot(*(edge * step for edge, step in zip(reference.shape, spacing, strict=True)))
        return MaskScores(0.0, diagonal, diagonal, diagonal, empty)
    dice = 2.0 * np.count_nonzero(prediction & reference) / (np.count_nonzero(prediction) + np.count_nonzero(reference))
    scale = np.asarray(spacing, dtype=np.float64)
    surfaces = [_surface(mask) * scale for mask in (prediction, reference)]
    there = KDTree(surfaces[1]).query(surfaces[0])[0]
    back = KDTree(surfaces[0]).query(surfaces[1])[0]
    return MaskScores(
        float(dice),
        float(max(there.max(), back.max())),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float(np.concatenate([there, back]).mean()),
        empty,
    )


def _empty(prediction: Mask, reference: Mask) -> Empty:
    if prediction.any():
        return "" if reference.any() else "reference"
    return "prediction" if reference.any() else "both"


def _surface(mask: Mask) -> NDArray[np.intp]:
    """Indices `(voxels, dims)` of the surface; the search is cropped to the mask."""
    box = tuple(
        slice(along.min(), along.max() + 1)
        for along in (np.flatnonzero(mask.any(axis=_others(mask, a))) for a in range(mask.ndim))
    )
    cropped = mask[box]
    corner = np.array([side.start for side in box])
    surface: NDArray[np.intp] = np.argwhere(cropped & ~binary_erosion(cropped)) + corner
    return surface


def _others(mask: Mask, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(mask.ndim) if other != axis)
