"""Read image files of all formats into arrays, with one-line errors for unusable files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.nifti_format import NIFTI, check_affine, nifti_header, read_nifti, spacing_of
from stampbench.datasets.picture import Picture
from stampbench.datasets.pillow_format import PILLOW, has_palette, pillow_shape, read_pillow
from stampbench.datasets.tiff_format import TIFF, read_tiff, tiff_has_palette

_Number = TypeVar("_Number", int, float)

IMAGES = NIFTI + PILLOW + TIFF
"""Endings of the image files that can be read."""
_LARGEST_INTENSITY = 1e15
"""Larger ones overflow in the variance of an image, which is computed with 32 bits."""
_MOST_SIDECAR_BYTES = 2**16


def read(path: Path, *, label: bool = False) -> Picture:
    """Read an image file of any supported format.

    Args:
        path: The file.
        label: Whether it is a label map. The pixels of a palette image are its colours in an image, and the palette's
            indices in a label map.

    Raises:
        DatasetError: when the file is missing, truncated or of an unsupported format, has values that are not plain
            numbers, contains NaN, infinite or huge values, has more voxels than the limit, or has an affine that is not
            invertible.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    name = path.name.lower()
    if not name.endswith(IMAGES):
        raise DatasetError(f"{path}: unknown image format; supported are {', '.join(IMAGES)}")
    try:
        if name.endswith(NIFTI):
            image = read_nifti(path)
        elif name.endswith(PILLOW):
            image = read_pillow(path, label=label)
        else:
            image = _read_tiff(path, label=label)
    except DatasetError:
        raise
    except Exception as error:  # The three libraries raise all kinds of exceptions for a damaged file.
        raise _unreadable(path, error) from error
    if not image.pixels.size:
        raise DatasetError(f"{path}: has no pixels")
    if image.pixels.dtype.kind not in "biuf":
        raise DatasetError(f"{path}: values are of type {image.pixels.dtype}; integers or real numbers are required")
    if not np.isfinite(image.pixels).all():
        raise DatasetError(f"{path}: contains NaN or infinite values")
    if (largest := max(abs(float(image.pixels.min())), abs(float(image.pixels.max())))) > _LARGEST_INTENSITY:
        raise DatasetError(f"{path}: contains values up to {largest:.3g}; at most {_LARGEST_INTENSITY:g} is accepted")
    if image.affine is not None:
        check_affine(path, image.affine)
    return image


def shape(path: Path) -> tuple[int, ...]:
    """Return the spatial shape of an image after orientation to RAS; only the header of NIfTI, PNG, JPEG, BMP and GIF
    files is read.

    Raises:
        DatasetError: when the file cannot be read.
    """
    if path.name.lower().endswith(NIFTI) and path.is_file():
        return ras_shape(*_nifti_header(path))
    if path.name.lower().endswith(PILLOW) and path.is_file():
        try:
            return pillow_shape(path)
        except DatasetError:
            raise
        except Exception as error:
            raise _unreadable(path, error) from error
    return read(path).pixels.shape[1:]


def spacing(path: Path) -> tuple[float, ...]:
    """Return the voxel size in mm of a 3D image along the RAS axes; NIfTI files need only their header read.

    Raises:
        DatasetError: when the file cannot be read.
    """
    if path.name.lower().endswith(NIFTI) and path.is_file():
        affine = _nifti_header(path)[1]
    elif (found := read(path).affine) is None:
        return (1.0, 1.0, 1.0)
    else:
        affine = found
    return _in_ras(spacing_of(affine), affine)


def _nifti_header(path: Path) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    try:
        return nifti_header(path)
    except DatasetError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def ras_shape(shape: tuple[int, ...], affine: NDArray[np.float64] | None) -> tuple[int, ...]:
    """Return a spatial shape with its axes in RAS order; without an affine, return it unchanged."""
    return shape if affine is None else tuple(map(int, _in_ras(shape, affine)))


def _in_ras(edges: tuple[_Number, ...], affine: NDArray[np.float64]) -> tuple[_Number, ...]:
    order = nib.io_orientation(affine)[:, 0]
    return tuple(edges[axis] for axis in sorted(range(len(edges)), key=lambda axis: order[axis]))


def _read_tiff(path: Path, *, label: bool) -> Picture:
    """Read a 2D image, or a 3D stack of nnU-Net v2, whose spacing is in a separate JSON file."""
    pixels = read_tiff(path, label=label)
    if pixels.ndim == 3:
        return Picture(pixels, None)
    spacing_file = sidecar(path)
    spacing = (1.0, 1.0, 1.0) if spacing_file is None else _read_spacing(spacing_file)
    return Picture(pixels, np.diag([*spacing, 1.0]))


def palette(path: Path) -> bool:
    """Return whether an image's pixels are indices into a palette; False if the file cannot be read."""
    name = path.name.lower()
    try:
        return (name.endswith(PILLOW) and has_palette(path)) or (name.endswith(TIFF) and tiff_has_palette(path))
    except Exception:  # Reading the file later reports the error.
        return False


def sidecar(path: Path) -> Path | None:
    """Return the JSON file with the spacing of a TIFF stack, or None if there is none."""
    if not path.name.lower().endswith(TIFF):
        return None
    candidates = (path.with_suffix(".json"), path.with_name(path.stem.removesuffix("_0000") + ".json"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_spacing(path: Path) -> tuple[float, float, float]:
    """Return the spacing in mm in the order `(x, y, z)`; nnU-Net writes `(z, y, x)`."""
    try:
        with path.open("rb") as file:
            z, y, x = (float(edge) for edge in json.loads(file.read(_MOST_SIDECAR_BYTES))["spacing"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DatasetError(f"{path}: has no 'spacing' with three numbers") from error
    if not min(x, y, z) > 0:
        raise DatasetError(f"{path}: spacing {z}, {y}, {x} is not positive")
    return x, y, z


def spacing_lost(shapes: Iterable[tuple[int, ...]], spacings: Iterable[tuple[float, ...]]) -> bool:
    """Return whether volumes that mostly have thick slices all claim voxels of 1 mm: the true spacing must be lost.

    Args:
        shapes: spatial shapes of all cases.
        spacings: voxel sizes of all cases in mm; they are only read if most shapes suggest thick slices.
    """
    thick = [4 * min(shape) < max(shape) for shape in shapes]
    return 2 * sum(thick) > len(thick) and all(each == (1.0, 1.0, 1.0) for each in spacings)


def _unreadable(path: Path, error: Exception) -> DatasetError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return DatasetError(f"{path}: cannot be read; the file may be truncated ({reason})")
