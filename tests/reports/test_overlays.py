"""Planes of volumes, and thumbnails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stampbench.reports.overlays import best_plane, thumbnails


def volume() -> tuple[Any, Any, Any]:
    """Return image, reference and prediction of a volume whose third slice has the largest foreground."""
    image = np.arange(8 * 6 * 4, dtype=np.float32).reshape(8, 6, 4)
    reference, prediction = np.zeros((2, 8, 6, 4), np.uint8)
    reference[2:5, 1:4, 2] = 1
    reference[3, 2, 1] = 1
    prediction[2:6, 1:4, 2] = 1
    return image, reference, prediction


def test_best_plane_is_the_slice_with_the_largest_foreground() -> None:
    image, reference, prediction = volume()
    plane = best_plane("c", image, reference, prediction, (1.0, 2.0, 5.0))
    assert plane.reference.sum() == 9
    assert (plane.image == np.rot90(image[..., 2])).all()
    assert plane.aspect == 2.0
    without_reference = best_plane("c", image, np.zeros_like(reference), prediction, (1.0, 1.0, 1.0))
    assert without_reference.prediction.sum() == 12


def test_thumbnails_show_the_outline_of_the_prediction(tmp_path: Path) -> None:
    path = tmp_path / "t.webp"
    path.write_bytes(thumbnails([best_plane("b", *volume(), (1.0, 1.0, 1.0))] * 2, 64, 90))
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (64, 128, 3)
    orange = (picture[..., 0] > 180) & (picture[..., 2] < 90)
    assert orange.any(), "the prediction extends beyond the reference"
