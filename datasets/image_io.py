"""Image files read into arrays: NIfTI, PNG and TIFF, each fault told in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from stampbench.datasets.errors import DatasetError

NIFTI = (".nii.gz", ".nii")
PNG = (".png",)
TIFF = (".tif", ".tiff")
IMAGES = NIFTI + PNG + TIFF


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
    reader = _reader(path)
    try:
        picture = reader(path)
    except DatasetError:
        raise
    except Exception as error:  # a broken file may fail in any way, and in any of three libraries
        raise _unreadable(path, error) from error
    if picture.pixels.dtype.kind not in "biuf":
        raise DatasetError(f"{path}: its values are of type {picture.pixels.dtype}; plain numbers are expected")
    if not np.isfinite(picture.pixels).all():
        raise DatasetError(f"{path}: holds NaN or infinite values")
    if picture.affine is not None:
        _check_affine(path, picture.affine)
    return picture


def shape(path: Path) -> tuple[int, ...]:
    """Spatial shape after orientation to RAS, from the header where there is one."""
    if path.name.lower().endswith(NIFTI) and path.is_file():
        try:
            image = nib.load(path)
        except Exception as error:
            raise _unreadable(path, error) from error
        _check_affine(path, np.asarray(image.affine))
        return ras_shape(image.shape[:3], np.asarray(image.affine))
    if path.name.lower().endswith(PNG) and path.is_file():
        try:
            with Image.open(path) as picture:
                return (picture.height, picture.width)
        except Exception as error:
            raise _unreadable(path, error) from error
    return read(path).pixels.shape[1:]


def ras_shape(shape: tuple[int, ...], affine: NDArray[np.float64] | None) -> tuple[int, ...]:
    """A spatial shape once the axes are oriented to RAS."""
    if affine is None:
        return shape
    order = nib.io_orientation(affine)[:, 0]
    return tuple(int(shape[axis]) for axis in sorted(range(len(shape)), key=lambda axis: order[axis]))


def _reader(path: Path) -> Callable[[Path], Picture]:
    name = path.name.lower()
    for endings, reader in ((NIFTI, _read_nifti), (PNG, _read_png), (TIFF, _read_tiff)):
        if name.endswith(endings):
            return reader
    raise DatasetError(f"{path}: unknown kind of image; known are {', '.join(IMAGES)}")


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
    beside = sidecar(path)
    spacing = (1.0, 1.0, 1.0) if beside is None else _spacing(beside)
    return Picture(pixels.transpose(2, 1, 0)[None], np.diag([*spacing, 1.0]))


def sidecar(path: Path) -> Path | None:
    """The JSON file with the spacing of a TIFF stack, if there is one."""
    if not path.name.lower().endswith(TIFF):
        return None
    named = (path.with_suffix(".json"), path.with_name(path.stem.removesuffix("_0000") + ".json"))
    return next((each for each in named if each.is_file()), None)


def _spacing(path: Path) -> tuple[float, float, float]:
    """nnU-Net writes `(z, y, x)`; ours is `(x, y, z)`."""
    try:
        z, y, x = (float(each) for each in json.loads(path.read_text())["spacing"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: has no 'spacing' of three numbers") from error
    if not min(x, y, z) > 0:
        raise DatasetError(f"{path}: spacing {z}, {y}, {x} is not positive")
    return x, y, z


def _check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DatasetError(f"{path}: its affine is not invertible, so spacing and orientation are unknown")


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """Voxel edge lengths in mm from a 4×4 affine."""
    return tuple(round(math.sqrt(float((affine[:3, axis] ** 2).sum())), 5) for axis in range(3))


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path}: cannot be read, it may be truncated ({reason})")
