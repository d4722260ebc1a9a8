"""Overlap and surface distances of one predicted mask and its reference.

A surface is a mask's voxels that one face-connected erosion removes, as MONAI defines it; distances are
between voxel centres. Conventions for empty masks: two empty masks are a perfect result; if one mask is empty, every
distance is the diagonal of the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.spatial import KDTree

from stampbench.benchmark.measure.case_score import Empty

Mask = NDArray[np.bool_]

_MANY_VOXELS, _MANY_OF_BOX = 300_000, 0.25
"""Voxels of two surfaces, and their share of the box, from which on a distance transform is faster than a tree."""


class MaskScores(NamedTuple):
    """Scores of one mask.

    Attributes:
        dice: 0 to 1.
        hausdorff: largest surface distance, in the unit of the spacing.
        hd95: larger of the two directed 95th percentiles of surface distances.
        msd: mean over the surface distances of both directions.
        nsd: 0 to 1, the share of both surfaces' voxels within the tolerance of the other surface.
        volume_error: predicted minus reference volume (2D: area), in the unit of the spacing cubed (squared).
        empty: which masks have no voxel, so that tables can count these cases.
    """

    dice: float
    hausdorff: float
    hd95: float
    msd: float
    nsd: float
    volume_error: float
    empty: Empty


def dice_score(prediction: Mask, reference: Mask) -> float:
    """Return the Dice of two masks; both empty: 1."""
    both = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2.0 * np.count_nonzero(prediction & reference) / both if both else 1.0


def class_dice(prediction: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> list[float]:
    """Return the Dice of each foreground class of two label maps.

    Args:
        prediction: `(*spatial)`.
        reference: `(*spatial)`.
        classes: number of classes, background included.
    """
    return [dice_score(prediction == value, reference == value) for value in range(1, classes)]


def score_masks(prediction: Mask, reference: Mask, spacing: Sequence[float], tolerance: float = 1.0) -> MaskScores:
    """Score one mask.

    The normalised surface Dice (Nikolov et al. 2021) counts surface voxels, as MONAI does; DeepMind's code weights
    them by area.

    Args:
        prediction: `(*spatial)`.
        reference: `(*spatial)`.
        spacing: edge length of a voxel per axis.
        tolerance: tolerance of the normalised surface Dice, in the unit of the spacing.

    Raises:
        ValueError: when shapes differ, or spacing has another number of axes.
    """
    if prediction.shape != reference.shape or len(spacing) != reference.ndim:
        raise ValueError(f"masks {prediction.shape} and {reference.shape} with spacing {tuple(spacing)}")
    diagonal = math.hypot(*(edge * step for edge, step in zip(reference.shape, spacing, strict=True)))
    box = _box(prediction | reference)
    prediction, reference = prediction[box], reference[box]
    empty = _empty(prediction, reference)
    predicted, labelled = np.count_nonzero(prediction), np.count_nonzero(reference)
    volume_error = float((predicted - labelled) * math.prod(spacing))
    if empty == "both":
        return MaskScores(1.0, 0.0, 0.0, 0.0, 1.0, volume_error, empty)
    if empty:
        return MaskScores(0.0, diagonal, diagonal, diagonal, 0.0, volume_error, empty)
    scale = np.asarray(spacing, dtype=np.float64)
    surfaces = [mask & ~binary_erosion(mask) for mask in (prediction, reference)]
    there, back = _distances(surfaces[0], surfaces[1], scale), _distances(surfaces[1], surfaces[0], scale)
    both = np.concatenate([there, back])
    return MaskScores(
        dice_score(prediction, reference),
        float(both.max()),
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float(both.mean()),
        float((both <= tolerance).mean()),
        volume_error,
        empty,
    )


def average_hausdorff_set(prediction: Mask, reference: Mask, spacing: Sequence[float]) -> float:
    """Return the mean distance of one mask's voxels (not only its surface) to the other, averaged over directions.

    This is SimpleITK's average Hausdorff distance, which PocketNet's tables report (Celaya et al. 2022, §2). Voxels
    in both masks have distance zero, hence values far below a voxel. Empty masks count as for Hausdorff.
    """
    empty = _empty(prediction, reference)
    if empty:
        return score_masks(prediction, reference, spacing).msd
    scale = np.asarray(spacing, dtype=np.float64)
    voxels = [np.argwhere(mask) * scale for mask in (prediction, reference)]
    return float((_nearest(voxels[0], voxels[1]).mean() + _nearest(voxels[1], voxels[0]).mean()) / 2)


def _empty(prediction: Mask, reference: Mask) -> Empty:
    if prediction.any():
        return "" if reference.any() else "reference"
    return "prediction" if reference.any() else "both"


def _distances(surface: Mask, other: Mask, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each voxel of a surface to the nearest voxel of the other one."""
    voxels = np.argwhere(surface)
    both = len(voxels) + np.count_nonzero(other)
    if both < _MANY_VOXELS or both < _MANY_OF_BOX * surface.size:
        return _nearest(voxels * scale, np.argwhere(other) * scale)
    # A tree's time grows with the surface's voxels, a distance transform's with all voxels of the box.
    nearest: NDArray[np.intp] = distance_transform_edt(
        ~other, sampling=scale, return_distances=False, return_indices=True
    )[:, *voxels.T].T
    # The same sum as the tree's; only where two voxels are equally near may it be rounded in another way.
    apart = voxels * scale - nearest * scale
    distances: NDArray[np.float64] = np.sqrt(sum(np.square(axis) for axis in apart.T))
    return distances


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each point `(n, dims)` to the nearest of the others."""
    # Voxels on a grid need no balanced tree; building an unbalanced one takes a third of the time.
    distances: NDArray[np.float64] = KDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]
    return distances


def _box(mask: Mask) -> tuple[slice, ...]:
    """Return the smallest box around a mask's voxels; for an empty mask, an empty box."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        side = slice(int(along[0]), int(along[-1]) + 1) if len(along) else slice(0, 0)
        box.append(side)
        mask = mask[(slice(None),) * axis + (side,)]  # leaves less work for the next axis
    return tuple(box)
