"""Read NRRD, MHA and MHD files with SimpleITK, which the extra `formats` installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.itk_header import check_header
from stampbench.datasets.formats.picture import Format, Header, Picture
from stampbench.datasets.formats.voxel_limit import check_voxels

ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the files that this module reads."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_itk(path: Path, label: bool) -> Picture:
    """Read a file, in the same way whether it is a label map; 2D images have rows first, volumes `(x, y, z)`.

    Raises:
        DatasetError: when SimpleITK is not installed, or the image has other dimensions than 2 or 3, or more voxels
            than the limit.
    """
    header = itk_header(path)
    image = _simpleitk(path).ReadImage(str(path))
    array = _simpleitk(path).GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    axes = (2, 0, 1) if len(header.shape) == 2 else (3, 2, 1, 0)
    return Picture(array.transpose(axes), header.affine)


def itk_header(path: Path) -> Header:
    """Return the header without reading the voxels; the errors are those of `read_itk`."""
    itk = _simpleitk(path)
    check_header(path)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dims, size = reader.GetDimension(), reader.GetSize()
    if dims not in (2, 3):
        raise DatasetError(f"{path}: has {dims} dimensions; 2 or 3 are required")
    check_voxels(path, (reader.GetNumberOfComponents(), *size))
    if dims == 2:
        return Header(tuple(size[::-1]), None)
    affine = np.eye(4)
    # ITK's axes point to left, posterior and superior.
    affine[:3, :3] = _LPS_TO_RAS @ np.reshape(reader.GetDirection(), (3, 3)) @ np.diag(reader.GetSpacing())
    affine[:3, 3] = _LPS_TO_RAS @ np.asarray(reader.GetOrigin())
    return Header(tuple(size), affine)


def companions(path: Path) -> tuple[Path, ...]:
    """Return the file with the voxels, if they are not in the same file as the header.

    Raises:
        DatasetError: when the header is damaged, or the voxels are in several files or in another folder.
    """
    name = check_header(path)
    return () if name is None else (path.with_name(name),)


def write_itk(image: Path, output: Path, labels: NDArray[np.generic]) -> None:
    """Write a label map with the geometry of an image."""
    itk = _simpleitk(image)
    written = itk.GetImageFromArray(labels if labels.ndim == 2 else labels.transpose(2, 1, 0))
    reader = itk.ImageFileReader()
    reader.SetFileName(str(image))
    reader.ReadImageInformation()
    written.SetSpacing(reader.GetSpacing())
    written.SetOrigin(reader.GetOrigin())
    written.SetDirection(reader.GetDirection())
    itk.WriteImage(written, str(output), True)


def _simpleitk(path: Path) -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise DatasetError(
            f"{path}: {path.suffix} files need the extra 'formats'; run: pip install 'stampbench[formats]'"
        ) from error
    return SimpleITK


FORMAT = Format(ITK, read_itk, itk_header, companions=companions, write=write_itk)
