"""Read DICOM series and images with pydicom and highdicom, which the extra `formats` installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.dicom_files import (
    DICOM,
    first_of_series,
    has_structures,
    highdicom,
    read_dataset,
    series_of,
)
from stampbench.datasets.formats.dicom_structures import structure_mask, structure_names
from stampbench.datasets.formats.picture import Format, Header, Picture
from stampbench.datasets.formats.voxel_limit import check_voxels

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ORIENTATION = 1e-4
"""Largest difference between the directions of slices of a series."""


def read_dicom(path: Path, label: bool) -> Picture:
    """Read the series of which a file is an image, as a volume `(x, y, z)`; a series of one plain file is a 2D image.

    Rescaling to HU or another unit is applied, and MONOCHROME1 is inverted, so that high values are bright.

    Args:
        path: An image of the series.
        label: Whether it is a label map; it is read in the same way.

    Raises:
        DatasetError: when the extra is not installed, the file has structures or no pixels, the slices are no regular
            volume, or the image has more voxels than the limit.
    """
    header = dicom_header(path)
    hd, files = highdicom(path), series_of(path)
    try:
        if len(files) > 1:
            slices = [read_dataset(each) for each in files]
            volume = hd.get_volume_from_series(slices, dtype=np.float32, orientation_tol=_ORIENTATION)
            pixels = _ordered(volume).array
        elif len(header.shape) == 3:
            pixels = _ordered(hd.imread(path).get_volume(dtype=np.float32)).array
        else:
            pixels = hd.imread(path).get_frame(1, dtype=np.float32)
    except (RuntimeError, NotImplementedError) as error:  # of pydicom, for compressed pixels
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"{path}: its pixels cannot be decoded, which may need another package ({reason})"
        ) from error
    if pixels.ndim == len(header.shape):
        pixels = pixels[..., None]
    return Picture(pixels.transpose((3, 2, 1, 0) if pixels.ndim == 4 else (2, 0, 1)), header.affine)


def dicom_header(path: Path) -> Header:
    """Return shape, affine and frame of reference of a series; the errors are those of `read_dicom`."""
    files = series_of(path)
    if has_structures(path):
        names = ", ".join(structure_names(path)) or "none"
        raise DatasetError(
            f"{path}: has structures ({names}) and no image; a class needs their names", setting="labels"
        )
    if not files:
        raise DatasetError(f"{path}: has no pixels; it is no image")
    slices = [read_dataset(each, pixels=False) for each in files]
    one = slices[0]
    frames, size = int(one.get("NumberOfFrames", 1) or 1), (int(one.Rows), int(one.Columns))
    check_voxels(path, (int(one.get("SamplesPerPixel", 1)), len(files), frames, *size))
    frame = str(one.get("FrameOfReferenceUID", "")) or None
    if len(files) == frames == 1:
        return Header(size, None)
    if len(files) > 1 and frames > 1:
        raise DatasetError(f"{path}: its series has several files with several frames, which is not supported")
    geometry = _geometry(path, slices) if len(files) > 1 else highdicom(path).imread(path).get_volume_geometry()
    if geometry is None:
        raise DatasetError(f"{path}: its {frames} frames are no volume of regular slices")
    geometry = _ordered(geometry)
    affine = _LPS @ geometry.affine[:, [2, 1, 0, 3]]
    return Header(tuple(int(edge) for edge in geometry.spatial_shape[::-1]), affine, frame)


def _ordered(volume: Any) -> Any:
    """Return a volume or its grid with slices in the order in which columns, rows and slices are right-handed."""
    return volume if np.linalg.det(volume.affine[:3, 2::-1]) > 0 else volume.flip_spatial(0)


def _geometry(path: Path, slices: list[Any]) -> Any:
    """Return the grid of a series, after checking that its slices are a regular volume."""
    hd, one = highdicom(path), slices[0]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not all(each.get(name) for each in slices):
            raise DatasetError(f"{path}: an image of its series has no {name}; {len(slices)} files are no volume")
    for name in ("Rows", "Columns", "PixelSpacing", "FrameOfReferenceUID"):
        if any(each.get(name) != one.get(name) for each in slices):
            raise DatasetError(f"{path}: the images of its series differ in {name}, so they are no volume")
    spacing, positions = hd.spatial.get_series_volume_positions(slices, orientation_tol=_ORIENTATION)
    if spacing is None:
        raise DatasetError(
            f"{path}: the {len(slices)} slices of its series are not equally spaced: one is missing, is there twice, "
            "or belongs to another volume"
        )
    first = slices[positions.index(0)]
    return hd.VolumeGeometry.from_attributes(
        image_position=first.ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        rows=one.Rows,
        columns=one.Columns,
        pixel_spacing=one.PixelSpacing,
        spacing_between_slices=spacing,
        number_of_frames=len(slices),
        coordinate_system="PATIENT",
    )


def _companions(path: Path) -> tuple[Path, ...]:
    return tuple(each for each in series_of(path) if each != path)


def write_label_map(image: Path, output: Path, labels: NDArray[np.generic]) -> None:
    """Write a label map of a volume as NIfTI, in the grid of its series."""
    nib.save(nib.Nifti1Image(labels, dicom_header(image).affine), output)


FORMAT = Format(
    DICOM,
    read_dicom,
    dicom_header,
    companions=_companions,
    write=write_label_map,
    first=first_of_series,
    structures=lambda path: structure_names(path) if has_structures(path) else (),
    mask=structure_mask,
)
