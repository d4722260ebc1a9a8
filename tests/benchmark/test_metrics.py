"""Metrics against hand-made masks and against MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance

from stampbench.benchmark.metrics import score_masks


def block(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*each) for each in ranges)] = True
    return mask


def test_equal_masks_are_perfect() -> None:
    mask = block((9, 9, 9), (2, 6), (2, 6), (2, 6))
    assert score_masks(mask, mask, (1, 1, 1)) == (1.0, 0.0, 0.0, 0.0, "")


def test_two_single_voxels_are_their_distance_apart_in_mm() -> None:
    """Steps (3, 4, 0) with spacing (2, 0.5, 9): sqrt(6² + 2²) = sqrt(40)."""
    a, b = block((9, 9, 9), (1, 2), (1, 2), (4, 5)), block((9, 9, 9), (4, 5), (5, 6), (4, 5))
    scores = score_masks(a, b, (2.0, 0.5, 9.0))
    assert scores.dice == 0
    assert scores[1:4] == pytest.approx([math.sqrt(40)] * 3)


def test_a_rod_against_its_longer_copy() -> None:
    """Voxels 0–3 and 0–13 on an axis of 3 mm: directed distances 0 ×4 and 0 ×4, 3, 6, …, 30."""
    a, b = block((20, 3), (0, 4), (1, 2)), block((20, 3), (0, 14), (1, 2))
    scores = score_masks(a, b, (3.0, 1.0))
    back = [0, 0, 0, 0, *range(3, 31, 3)]
    assert scores.dice == pytest.approx(2 * 4 / 18)
    assert scores.hausdorff == 30
    assert scores.hd95 == pytest.approx(30 - 3 * 0.65)  # position 0.95 · 13 = 12.35 of 0 … 13
    assert scores.msd == pytest.approx(sum(back) / 18)


def test_distances_are_between_surfaces_not_volumes() -> None:
    """A cube and its hollow shell: the shell's inner wall is a surface, one voxel inside the cube's."""
    cube = block((9, 9, 9), (1, 8), (1, 8), (1, 8))
    hole = block((9, 9, 9), (3, 6), (3, 6), (3, 6))
    assert score_masks(cube & ~hole, cube, (1, 1, 1)).hausdorff == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("prediction", "reference", "dice", "distance", "empty"),
    [
        (False, False, 1.0, 0.0, "both"),
        (True, False, 0.0, 13.0, "reference"),
        (False, True, 0.0, 13.0, "prediction"),
    ],
)
def test_empty_masks(prediction: bool, reference: bool, dice: float, distance: float, empty: str) -> None:
    """Diagonal of 3 × 4 voxels of 1 × 3 mm by 4 of 1 mm … (3, 12, 4): sqrt(9 + 144 + 16) = 13."""
    masks = [np.zeros((3, 4, 4), bool), block((3, 4, 4), (1, 2), (1, 2), (1, 2))]
    scores = score_masks(masks[prediction], masks[reference], (1.0, 3.0, 1.0))
    assert scores == (dice, distance, distance, distance, empty)


def test_masks_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="masks"):
        score_masks(np.ones((3, 3), bool), np.ones((3, 4), bool), (1, 1))
    with pytest.raises(ValueError, match="spacing"):
        score_masks(np.ones((3, 3), bool), np.ones((3, 3), bool), (1, 1, 1))


@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**20), density=st.sampled_from([0.02, 0.3, 0.9]), isotropic=st.booleans())
def test_monai_agrees(dims: int, seed: int, density: float, isotropic: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 14, dims))
    masks = [rng.random(shape) < density for _ in range(2)]
    if not masks[0].any() or not masks[1].any():
        return
    spacing = [1.0] * dims if isotropic else rng.uniform(0.4, 5, dims).tolist()
    scores = score_masks(masks[0], masks[1], spacing)
    prediction, reference = (torch.from_numpy(mask)[None, None].float() for mask in masks)
    assert scores.dice == pytest.approx(float(compute_dice(prediction, reference)), abs=1e-6)
    common = {"include_background": True, "spacing": spacing}
    assert scores.hausdorff == pytest.approx(
        float(compute_hausdorff_distance(prediction, reference, **common)), rel=1e-5
    )
    # MONAI interpolates the percentile in float32
    assert scores.hd95 == pytest.approx(
        float(compute_hausdorff_distance(prediction, reference, percentile=95, **common)), rel=1e-4
    )
    assert scores.msd == pytest.approx(
        float(compute_average_surface_distance(prediction, reference, symmetric=True, **common)),
        rel=1e-5,
        abs=1e-6,
    )
