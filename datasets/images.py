"""Image files read into arrays: NIfTI, PNG and TIFF, each fault told in one line."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import tifffile
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from stampbench.datasets.errors import DatasetError

NIFTI = (".nii.gz", ".nii")
PNG = (".png",)
TIFF = (".tif", ".tiff")
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    ImageFileError,
    UnidentifiedImageError,
    tifffile.TiffFileError,
)


class Picture(NamedTuple):
    """Pixels `(channels, *spatial)` and where they are in space; no affine means that spacing is unknown."""

    pixels: NDArray[np.generic]
    affine: NDArray[np.float64] | None


def read(path: Path) -> Picture:
    """Read one image file of any supported kind.

    Raises:
        DatasetError: it is missing, truncated, of another kind, or holds NaN or infinity.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    try:
        picture = _reader(path)(path)
    except _UNREADABLE as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: cannot be read, it may be truncated ({_one_line(error)})") from error
    if not np.isfinite(picture.pixels).all():
        raise DatasetError(f"{path}: holds NaN or infinite values")
    return picture


def shape(path: Path) -> tuple[int, ...]:
    """Spatial shape after orientation to RAS, from the header where there is one."""
    if path.name.lower().endswith(NIFTI) and path.is_file():
        try:
            image = nib.load(path)
        except _UNREADABLE as error:
            raise DatasetError(f"{path}: cannot be read, it may be truncated ({_one_line(error)})") from error
        order = nib.io_orientation(image.affine)[:, 0]
        axes = sorted(range(min(3, len(image.shape))), key=lambda axis: order[axis])
        return tuple(image.shape[axis] for axis in axes)
    return read(path).pixels.shape[1:]


def _reader(path: Path) -> Callable[[Path], Picture]:
    name = path.name.lower()
    for endings, reader in ((NIFTI, _read_nifti), (PNG, _read_png), (TIFF, _read_tiff)):
        if name.endswith(endings):
            return reader
    raise DatasetError(f"{path}: unknown kind of image; known are {', '.join(NIFTI + PNG + TIFF)}")


def _read_nifti(path: Path) -> Picture:
    image = nib.load(path)
    pixels = np.asanyarray(image.dataobj)
    if pixels.ndim == 4:
        pixels = np.moveaxis(pixels, 3, 0)
    elif pixels.ndim == 3:
        pixels = pixels[None]
    else:
        raise DatasetError(f"{path}: has {pixels.ndim} dimensions; 3, or 4 with channels last, are expected")
    return Picture(pixels, np.asarray(image.affine, dtype=np.float64))


def _read_png(path: Path) -> Picture:
    with Image.open(path) as image:
        if image.mode == "1":
            image = image.convert("L")  # type: ignore[assignment]
        pixels = np.asarray(image)
    return Picture(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0), None)


def _read_tiff(path: Path) -> Picture:
    """A 2D picture, or nnU-Net v2's 3D stack `(z, y, x)` with its spacing in a JSON file beside it."""
    with tifffile.TiffFile(path) as file:
        pixels = file.asarray()
        samples = file.pages[0].samplesperpixel  # type: ignore[union-attr]
    if samples > 1:
        return Picture(np.moveaxis(pixels, -1, 0), None)
    if pixels.ndim == 2:
        return Picture(pixels[None], None)
    if pixels.ndim != 3:
        raise DatasetError(f"{path}: has {pixels.ndim} dimensions; 2 or 3 are expected")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        beside = path.with_name(path.stem.removesuffix("_0000") + ".json")
    spacing = json.loads(beside.read_text())["spacing"][::-1] if beside.is_file() else (1.0, 1.0, 1.0)
    return Picture(pixels.transpose(2, 1, 0)[None], np.diag([*spacing, 1.0]))


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """Voxel edge lengths in mm from a 4×4 affine."""
    return tuple(round(math.sqrt(float((affine[:3, axis] ** 2).sum())), 5) for axis in range(3))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
