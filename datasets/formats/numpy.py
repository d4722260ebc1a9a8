"""Read NumPy files: `(rows, columns)` is a picture, `(x, y, z)` a volume, `(channels, x, y, z)` one with channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.picture import Format, Header, Picture
from stampbench.datasets.formats.voxel_limit import check_voxels

NUMPY = (".npy",)
"""Endings of the files that this module reads."""


def read_numpy(path: Path, label: bool) -> Picture:
    """Read a file, in the same way whether it is a label map.

    Raises:
        DatasetError: when the array has other dimensions than 2 to 4, or more voxels than the limit.
    """
    array = np.array(_opened(path))
    if array.ndim == 2:
        return Picture(array[None], None)
    return Picture(array if array.ndim == 4 else array[None], np.eye(4))


def numpy_header(path: Path) -> Header:
    """Return the shape; the errors are those of `read_numpy`."""
    shape = _opened(path).shape
    return Header(shape, None) if len(shape) == 2 else Header(shape[-3:], np.eye(4))


def _opened(path: Path) -> NDArray[np.generic]:
    """Map a file into memory; its voxels have not been read."""
    array: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim not in (2, 3, 4):
        raise DatasetError(f"{path}: has {array.ndim} dimensions; 2, 3, or 4 with channels first, are required")
    check_voxels(path, array.shape)
    return array


def write_numpy(image: Path, output: Path, labels: NDArray[np.generic]) -> None:
    """Write a label map."""
    with output.open("wb") as file:
        np.save(file, labels, allow_pickle=False)


FORMAT = Format(NUMPY, read_numpy, numpy_header, write=write_numpy)
