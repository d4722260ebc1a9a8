"""Miniatures of public datasets in the layouts in which they are downloaded, with pictures of a few pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ENDINGS = ("", "_1")


def blob(number: int, shape: tuple[int, int] = (40, 48), edge: int = 12) -> np.ndarray:
    """Return a mask with a box whose place depends on the number."""
    mask = np.zeros(shape, bool)
    row, column = 3 + number % 5 * 4, 2 + number % 7 * 3
    mask[row : row + edge, column : column + edge] = True
    return mask


def textured(mask: np.ndarray, number: int, contrast: int = 90) -> np.ndarray:
    """Return a grey image in which the mask is brighter."""
    rng = np.random.default_rng(number)
    return (rng.integers(20, 60, mask.shape) + contrast * mask).astype(np.uint8)


def busi(root: Path, cases: int = 12) -> Path:
    """Write BUSI: grey images as RGB, one or several masks per image, parentheses in names."""
    for number in range(cases):
        kind = ("benign", "malignant")[number % 2]
        folder = root / "Dataset_BUSI_with_GT" / kind
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{kind} ({number + 1})"
        mask = blob(number)
        Image.fromarray(np.stack([textured(mask, number)] * 3, -1)).save(folder / f"{name}.png")
        half = mask.copy()
        half[:, np.flatnonzero(mask.any(0))[:6]] = False
        parts = [half, mask & ~half] if number == 3 else [mask]
        for ending, part in zip(ENDINGS, parts, strict=False):
            Image.fromarray((255 * part).astype(np.uint8)).save(folder / f"{name}_mask{ending}.png")
    return root / "Dataset_BUSI_with_GT"


def drive(root: Path, cases: int = 12) -> Path:
    """Write DRIVE: colour images as LZW TIFF, masks as GIF, field-of-view masks beside them, an official test set."""
    for number in range(cases):
        part = ("training", "test")[number >= cases // 2]
        for name in ("images", "1st_manual", "mask"):
            (root / "DRIVE" / part / name).mkdir(parents=True, exist_ok=True)
        folder, id = root / "DRIVE" / part, f"{number + 1:02d}"
        mask = blob(number)
        image = np.stack([textured(mask, 3 * number + channel) for channel in range(3)], -1)
        Image.fromarray(image).save(folder / "images" / f"{id}_{part}.tif", compression="tiff_lzw")
        Image.fromarray((255 * mask).astype(np.uint8)).save(folder / "1st_manual" / f"{id}_manual1.gif")
        view = np.full(mask.shape, 255, np.uint8)
        Image.fromarray(view).save(folder / "mask" / f"{id}_{part}_mask.gif")
    return root / "DRIVE"


def jsrt(root: Path, cases: int = 10) -> Path:
    """Write JSRT: images with an inverted palette, masks of half the size, a folder and a file per structure."""
    for number in range(cases):
        for name in ("images", "masks/heart", "masks/left lung"):
            (root / "JSRT" / name).mkdir(parents=True, exist_ok=True)
        heart, lung = blob(number, edge=8), blob(number + 2, edge=8)
        lung &= ~heart
        image = Image.fromarray(255 - textured(heart | lung, number))
        image.putpalette([value for index in range(256) for value in (255 - index,) * 3])
        image.save(root / "JSRT" / "images" / f"JPCLN{number:03d}.png")
        for name, mask in (("heart", heart), ("left lung", lung)):
            half = Image.fromarray((255 * mask[::2, ::2]).astype(np.uint8))
            half.save(root / "JSRT" / "masks" / name / f"JPCLN{number:03d}.gif")
    return root / "JSRT"


LAYOUTS: dict[str, Callable[[Path], Path]] = {"busi": busi, "drive": drive, "jsrt": jsrt}


@pytest.fixture(scope="session")
def layouts() -> dict[str, Callable[[Path], Path]]:
    """Return the functions that write a miniature of a public dataset below a folder, by name."""
    return LAYOUTS
