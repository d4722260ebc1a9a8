"""Read NIfTI files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.picture import Format, Header, Picture
from stampbench.datasets.formats.voxel_limit import check_voxels

NIFTI = (".nii.gz", ".nii")
"""Endings of the files that this module reads."""
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_MOST_EXTENSION_BYTES = 2**24
"""Most bytes of extensions between the header and the voxels, which nibabel reads together with the header."""
_LARGEST_ENTRY = 1e6
"""Largest entry of an affine in mm; a kilometre."""


def open_nifti(path: Path) -> Any:
    """Return nibabel's image of a file, whose voxels have not been read, after checking its header.

    Raises:
        DatasetError: when the header declares other dimensions than 3 or 4, values that are not plain numbers, no
            voxels, too many voxels or bytes of extensions, or an affine that is not invertible.
        Exception: those of nibabel, when the file is no NIfTI file.
    """
    with ImageOpener(path) as file:
        start = file.read(_NIFTI2_BYTES)
    second = _NIFTI2_BYTES in (int.from_bytes(start[:4], order) for order in ("little", "big"))  # type: ignore[arg-type]
    form = nib.Nifti2Image if second else nib.Nifti1Image
    header = form.header_class(start[: _NIFTI2_BYTES if second else _NIFTI1_BYTES], check=False)
    _check_header(path, header)
    image = form.from_filename(path)
    check_affine(path, np.asarray(image.affine))
    return image


def _check_header(path: Path, header: Any) -> None:
    shape = tuple(map(int, header.get_data_shape()))
    if len(shape) not in (3, 4):
        raise DatasetError(f"{path}: has {len(shape)} dimensions; 3, or 4 with channels last, are required")
    check_voxels(path, shape)
    kind = header.get_data_dtype()
    if kind.kind not in "biuf" or kind.itemsize > 8:
        raise DatasetError(f"{path}: values are of type {kind}; integers or real numbers are required")
    offset = float(header["vox_offset"])
    if not offset <= _MOST_EXTENSION_BYTES:
        raise DatasetError(
            f"{path}: its voxels begin at byte {offset:g}; at most {_MOST_EXTENSION_BYTES:,} is accepted"
        )


def read_nifti(path: Path, label: bool) -> Picture:
    """Read a file, in the same way whether it is a label map; the errors are those of `open_nifti`."""
    image = open_nifti(path)
    pixels = np.asanyarray(image.dataobj)
    pixels = np.moveaxis(pixels, 3, 0) if pixels.ndim == 4 else pixels[None]
    return Picture(pixels, np.asarray(image.affine, dtype=np.float64))


def nifti_header(path: Path) -> Header:
    """Return the header without reading the voxels; the errors are those of `open_nifti`."""
    image = open_nifti(path)
    return Header(image.shape[:3], np.asarray(image.affine))


def write_nifti(image: Path, output: Path, labels: NDArray[np.generic]) -> None:
    """Write a label map with the header of an image."""
    original = open_nifti(image)
    header = original.header.copy()
    header.set_data_dtype(labels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0  # with the scan's display range, labels would look black
    nib.save(nib.Nifti1Image(labels, original.affine, header), output)


def check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    """Check that an affine defines spacing and orientation.

    Raises:
        DatasetError: when it does not.
    """
    finite = np.isfinite(affine).all()
    if not finite or not abs(np.linalg.det(affine[:3, :3])) >= 1e-9 or np.isnan(nib.io_orientation(affine)).any():
        raise DatasetError(f"{path}: the affine is not invertible, so spacing and orientation are unknown")
    if (largest := float(np.abs(affine).max())) > _LARGEST_ENTRY or not min(spacing_of(affine)) > 0:
        raise DatasetError(f"{path}: the affine has entries of up to {largest:g} mm and no plausible spacing")


def spacing_of(affine: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the voxel size in mm along each axis of a 4×4 affine."""
    return tuple(round(math.sqrt(float((affine[:3, axis] ** 2).sum())), 5) for axis in range(3))


FORMAT = Format(NIFTI, read_nifti, nifti_header, write=write_nifti)
