"""Read image files of all formats into arrays, with one-line errors for unusable files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import dicom as dicom_format
from stampbench.datasets.formats import itk as itk_format
from stampbench.datasets.formats import nifti as nifti_format
from stampbench.datasets.formats import numpy as numpy_format
from stampbench.datasets.formats import pillow as pillow_format
from stampbench.datasets.formats import tiff as tiff_format
from stampbench.datasets.formats.nifti import check_affine, spacing_of
from stampbench.datasets.formats.picture import Format, Header, Picture

_Number = TypeVar("_Number", int, float)
_Result = TypeVar("_Result")

GROUP = "stampbench.readers"
"""Entry points of formats."""
FORMATS: list[Format] = [
    nifti_format.FORMAT,
    pillow_format.FORMAT,
    tiff_format.FORMAT,
    itk_format.FORMAT,
    dicom_format.FORMAT,
    numpy_format.FORMAT,
]
"""All formats; `discover` adds those of installed packages."""
_LARGEST_INTENSITY = 1e15
"""Larger ones overflow in the variance of an image, which is computed with 32 bits."""


def endings() -> tuple[str, ...]:
    """Return the endings of the files that can be read."""
    return tuple(ending for each in FORMATS for ending in each.endings)


def discover() -> Iterator[str]:
    """Add the formats of installed packages; yield a message for each one that cannot be added."""
    for point in metadata.entry_points(group=GROUP):
        try:
            found = point.load()
        except Exception as error:  # Importing another package's code can raise anything.
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            yield f"reader '{point.name}': {point.value} cannot be imported ({reason})"
            continue
        if not isinstance(found, Format):
            yield f"reader '{point.name}': {point.value} is not a Format but {type(found).__name__}"
        elif found not in FORMATS and (taken := sorted({*found.endings} & {*endings()})):
            yield f"reader '{point.name}': files ending in {taken[0]} are read already"
        elif found not in FORMATS:
            FORMATS.append(found)


def format_of(path: Path) -> Format:
    """Return the format of a file.

    Raises:
        DatasetError: when no format has its ending.
    """
    name = path.name.lower()
    for each in FORMATS:
        if name.endswith(each.endings):
            return each
    raise DatasetError(f"{path}: unknown image format; supported are {', '.join(endings())}")


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
    image = _call(path, lambda: format_of(path).read(path, label))
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


def _call(path: Path, function: Callable[[], _Result]) -> _Result:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file")
    try:
        return function()
    except DatasetError:
        raise
    except Exception as error:  # Libraries raise all kinds of exceptions for a damaged file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{path}: cannot be read; the file may be truncated ({reason})") from error


def header(path: Path) -> Header:
    """Return shape and affine of an image along the axes of its file; of most formats only the header is read.

    Raises:
        DatasetError: when the file cannot be read.
    """
    found = format_of(path).header
    if found is not None:
        return _call(path, lambda: found(path))
    picture = read(path)
    return Header(picture.pixels.shape[1:], picture.affine)


def shape(path: Path) -> tuple[int, ...]:
    """Return the spatial shape of an image after orientation to RAS; of most formats only the header is read.

    Raises:
        DatasetError: when the file cannot be read.
    """
    return ras_shape(*header(path)[:2])


def spacing(path: Path) -> tuple[float, ...]:
    """Return the voxel size in mm of a 3D image along the RAS axes; of most formats only the header is read.

    Raises:
        DatasetError: when the file cannot be read.
    """
    affine = header(path).affine
    return (1.0, 1.0, 1.0) if affine is None else _in_ras(spacing_of(affine), affine)


def ras_shape(shape: tuple[int, ...], affine: NDArray[np.float64] | None) -> tuple[int, ...]:
    """Return a spatial shape with its axes in RAS order; without an affine, return it unchanged."""
    return shape if affine is None else tuple(map(int, _in_ras(shape, affine)))


def _in_ras(edges: tuple[_Number, ...], affine: NDArray[np.float64]) -> tuple[_Number, ...]:
    order = nib.io_orientation(affine)[:, 0]
    return tuple(edges[axis] for axis in sorted(range(len(edges)), key=lambda axis: order[axis]))


def palette(path: Path) -> bool:
    """Return whether an image's pixels are indices into a palette; False if the file cannot be read."""
    try:
        has_palette = format_of(path).palette
        return has_palette is not None and has_palette(path)
    except Exception:  # Reading the file later reports the error.
        return False


def companions(path: Path) -> tuple[Path, ...]:
    """Return other files that belong to an image file, such as the JSON file with the spacing of a TIFF stack."""
    found = format_of(path).companions
    return () if found is None else found(path)


def first(path: Path) -> Path | None:
    """Return the file that stands for the image of which a file is a part, such as a series; None: it is no image.

    Raises:
        DatasetError: when the file cannot be read.
    """
    found = format_of(path).first if path.name.lower().endswith(endings()) else None
    return path if found is None else _call(path, lambda: found(path))


def structures(path: Path) -> tuple[str, ...]:
    """Return the names of the structures in a file; none for an image or a label map.

    Raises:
        DatasetError: when the file cannot be read.
    """
    found = format_of(path).structures if path.name.lower().endswith(endings()) else None
    return () if found is None else _call(path, lambda: found(path))


def mask(path: Path, names: tuple[str, ...], image: Path) -> NDArray[np.uint8]:
    """Return the mask `(*spatial)` of structures in a file, in the grid of an image.

    Args:
        path: A file with structures.
        names: Their names.
        image: The image.

    Raises:
        DatasetError: when a file cannot be read, or has no such structure.
    """
    found, grid = format_of(path).mask, header(image)
    assert found is not None
    return _call(path, lambda: found(path, names, grid))


def spacing_lost(shapes: Iterable[tuple[int, ...]], spacings: Iterable[tuple[float, ...]]) -> bool:
    """Return whether volumes that mostly have thick slices all claim voxels of 1 mm: the true spacing must be lost.

    Args:
        shapes: spatial shapes of all cases.
        spacings: voxel sizes of all cases in mm; they are only read if most shapes suggest thick slices.
    """
    thick = [4 * min(shape) < max(shape) for shape in shapes]
    return 2 * sum(thick) > len(thick) and all(each == (1.0, 1.0, 1.0) for each in spacings)
