"""Metrics of masks, compared with hand computations, MONAI and SimpleITK."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.measure import masks as measure_masks
from stampbench.benchmark.measure.masks import average_hausdorff_set, score_masks
from stampbench.datasets.dataset import open_dataset


def block(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*each) for each in ranges)] = True
    return mask


def test_equal_masks_have_perfect_scores() -> None:
    mask = block((9, 9, 9), (2, 6), (2, 6), (2, 6))
    assert score_masks(mask, mask, (1, 1, 1)) == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, "")


def test_distances_of_single_voxels_are_in_millimetres() -> None:
    """Steps (3, 4, 0) with spacing (2, 0.5, 9): sqrt(6² + 2²) = sqrt(40)."""
    a, b = block((9, 9, 9), (1, 2), (1, 2), (4, 5)), block((9, 9, 9), (4, 5), (5, 6), (4, 5))
    scores = score_masks(a, b, (2.0, 0.5, 9.0))
    assert scores.dice == 0
    assert scores[1:4] == pytest.approx([math.sqrt(40)] * 3)


def test_scores_of_two_rods_by_hand() -> None:
    """Voxels 0–3 and 0–13 on an axis of 3 mm: directed distances 0 ×4 and 0 ×4, 3, 6, …, 30."""
    a, b = block((20, 3), (0, 4), (1, 2)), block((20, 3), (0, 14), (1, 2))
    scores = score_masks(a, b, (3.0, 1.0))
    back = [0, 0, 0, 0, *range(3, 31, 3)]
    assert scores.dice == pytest.approx(2 * 4 / 18)
    assert scores.hausdorff == 30
    assert scores.hd95 == pytest.approx(30 - 3 * 0.65)  # position 0.95 · 13 = 12.35 of 0 … 13
    assert scores.msd == pytest.approx(sum(back) / 18)
    assert scores.volume_error == -10 * 3.0
    for tolerance, within in ((0.5, 8), (3.0, 9), (6.5, 10), (30.0, 18)):
        assert score_masks(a, b, (3.0, 1.0), tolerance).nsd == pytest.approx(within / 18)


def test_distances_are_between_surfaces() -> None:
    """The inner wall of a hollow cube is a surface too, one voxel away from the surface of the solid cube."""
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
def test_empty_masks_have_defined_scores(
    prediction: bool, reference: bool, dice: float, distance: float, empty: str
) -> None:
    """If one mask is empty, distances are the diagonal of the image: sqrt(3² + (4 · 3)² + 4²) = 13 mm."""
    masks = [np.zeros((3, 4, 4), bool), block((3, 4, 4), (1, 2), (1, 2), (1, 2))]
    scores = score_masks(masks[prediction], masks[reference], (1.0, 3.0, 1.0))
    volume = 3.0 * (int(prediction) - int(reference))
    assert scores == (dice, distance, distance, distance, dice, volume, empty)


def test_masks_and_spacings_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="masks"):
        score_masks(np.ones((3, 3), bool), np.ones((3, 4), bool), (1, 1))
    with pytest.raises(ValueError, match="spacing"):
        score_masks(np.ones((3, 3), bool), np.ones((3, 3), bool), (1, 1, 1))


def random_masks(dims: int, seed: int, density: float, isotropic: bool) -> tuple[list[np.ndarray], list[float]]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(5, 14, dims))
    masks = [rng.random(shape) < density for _ in range(2)]
    for mask in masks:
        mask[tuple(edge // 2 for edge in shape)] = True
    return masks, [1.0] * dims if isotropic else rng.uniform(0.4, 5, dims).tolist()


def assert_monai_agrees(prediction: np.ndarray, reference: np.ndarray, spacing: list[float], tolerance: float) -> None:
    scores = score_masks(prediction, reference, spacing, tolerance)
    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    assert scores.dice == pytest.approx(float(compute_dice(*tensors)), abs=1e-6)
    common: dict[str, Any] = {"include_background": True, "spacing": spacing}
    assert scores.hausdorff == pytest.approx(float(compute_hausdorff_distance(*tensors, **common)), rel=1e-5)
    # MONAI interpolates the percentile in float32.
    hd95 = float(compute_hausdorff_distance(*tensors, percentile=95, **common))
    assert scores.hd95 == pytest.approx(hd95, rel=1e-4)
    msd = float(compute_average_surface_distance(*tensors, symmetric=True, **common))
    assert scores.msd == pytest.approx(msd, rel=1e-5, abs=1e-6)
    nsd = float(compute_surface_dice(*tensors, class_thresholds=[tolerance], **common))
    assert scores.nsd == pytest.approx(nsd, abs=1e-6)


def assert_simpleitk_agrees(
    prediction: np.ndarray, reference: np.ndarray, spacing: list[float], tolerance: float
) -> None:
    """Compare with surfaces of BinaryContour and distances of Maurer's map; percentiles are computed by NumPy."""
    images = []
    for mask in (prediction, reference):
        # The border of background closes contours where a mask touches the edge of the image.
        image = sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        images.append(image)
    contours = [sitk.BinaryContour(image, fullyConnected=False) for image in images]
    distances = []
    for start, target in ((0, 1), (1, 0)):
        distance_map = sitk.SignedMaurerDistanceMap(contours[target], squaredDistance=False, useImageSpacing=True)
        surface = sitk.GetArrayFromImage(contours[start]).astype(bool)
        distances.append(np.abs(sitk.GetArrayFromImage(distance_map))[surface])
    scores = score_masks(prediction, reference, spacing, tolerance)
    both = np.concatenate(distances)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    assert scores.dice == pytest.approx(overlap.GetDiceCoefficient(), abs=1e-6)
    assert scores.hausdorff == pytest.approx(both.max(), rel=1e-5, abs=1e-5)
    assert scores.hd95 == pytest.approx(max(np.percentile(each, 95) for each in distances), rel=1e-4, abs=1e-5)
    assert scores.msd == pytest.approx(both.mean(), rel=1e-4, abs=1e-5)
    # A distance equal to the tolerance may be rounded up or down.
    lower, upper = (both < tolerance - 1e-4).mean(), (both < tolerance + 1e-4).mean()
    assert lower <= scores.nsd <= upper
    statistics = [sitk.StatisticsImageFilter() for _ in images]
    for each, image in zip(statistics, images, strict=True):
        each.Execute(image)
    volumes = [each.GetSum() * math.prod(spacing) for each in statistics]
    assert scores.volume_error == pytest.approx(volumes[0] - volumes[1], rel=1e-9, abs=1e-9)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    assert average_hausdorff_set(prediction, reference, spacing) == pytest.approx(
        hausdorff.GetAverageHausdorffDistance(), rel=1e-4, abs=1e-5
    )


@pytest.mark.parametrize("agrees", [assert_monai_agrees, assert_simpleitk_agrees])
@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**20),
    density=st.sampled_from([0.02, 0.3, 0.9]),
    isotropic=st.booleans(),
    tolerance=st.sampled_from([0.77, 1.3, 4.1]),
)
def test_monai_and_simpleitk_agree_on_random_masks(
    agrees: Callable[..., None], dims: int, seed: int, density: float, isotropic: bool, tolerance: float
) -> None:
    masks, spacing = random_masks(dims, seed, density, isotropic)
    agrees(*masks, spacing, tolerance)


@pytest.mark.parametrize("agrees", [assert_monai_agrees, assert_simpleitk_agrees])
@pytest.mark.parametrize("spacing", [[1.0, 1.0, 1.0], [0.6, 0.6, 3.6]])
def test_monai_and_simpleitk_agree_on_real_masks(
    agrees: Callable[..., None], spacing: list[float], real_data: Path
) -> None:
    """The labels of two cases, which overlap partly, are compared."""
    dataset = open_dataset(find_definition("hippocampus"), real_data)
    labels = [dataset.reader.read(case).label for case in dataset.reader.cases[:2]]
    shape = np.minimum(*(label.shape for label in labels))
    crop = tuple(slice(edge) for edge in shape)
    for value in (1, 2):
        agrees(labels[0][crop] == value, labels[1][crop] == value, spacing, 1.5)


@given(
    seed=st.integers(0, 2**32 - 1),
    density=st.floats(0.02, 0.9),
    spacing=st.sampled_from([(1.0, 1.0), (0.7, 0.3), (1.0, 1.0, 1.0), (0.7, 0.7, 3.0)]),
)
@settings(deadline=None, max_examples=40)
def test_many_surface_voxels_get_the_same_distances_by_another_way(
    seed: int, density: float, spacing: tuple[float, ...]
) -> None:
    """The tolerance equals no distance, where the last digit would decide."""
    rng = np.random.default_rng(seed)
    masks = [rng.random((17, 12, 9)[: len(spacing)]) < density for _ in range(2)]
    by_tree = score_masks(*masks, spacing, tolerance=0.65)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure_masks, "_MANY_VOXELS", 0)
        patch.setattr(measure_masks, "_MANY_OF_BOX", 0)
        patch.setattr(measure_masks, "KDTree", None)
        by_transform = score_masks(*masks, spacing, tolerance=0.65)
    assert by_transform[:6] == pytest.approx(by_tree[:6], rel=1e-12)
    assert by_transform.empty == by_tree.empty


def test_noise_over_a_whole_volume_takes_the_distance_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_masks, "KDTree", None)  # would fail
    rng = np.random.default_rng(0)
    scores = score_masks(
        rng.random((128, 128, 64)) < 0.5, block((128, 128, 64), (20, 90), (20, 90), (9, 50)), (1, 1, 1)
    )
    assert scores.hausdorff > 10
    with pytest.raises(TypeError):
        score_masks(block((9, 9), (1, 3), (1, 3)), block((9, 9), (2, 5), (2, 5)), (1, 1))


def test_average_hausdorff_of_sets_by_hand() -> None:
    """Voxels 0 to 3 and 0 to 13 on an axis of 3 mm: forward all 0; back 0 ×4, 3, 6, …, 30: (0 + 165/14) / 2."""
    a, b = block((20, 3), (0, 4), (1, 2)), block((20, 3), (0, 14), (1, 2))
    assert average_hausdorff_set(a, b, (3.0, 1.0)) == pytest.approx(165 / 14 / 2)
    assert average_hausdorff_set(a, np.zeros_like(a), (3.0, 1.0)) == pytest.approx(math.hypot(60, 3))
