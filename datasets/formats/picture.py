"""An image as its file stores it, and the interface of the formats that are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Picture(NamedTuple):
    """An image as its file stores it.

    Attributes:
        pixels: Array `(channels, *spatial)`.
        affine: 4×4 matrix from voxel indices to mm; None for a 2D image, whose spacing is unknown.
    """

    pixels: NDArray[np.generic]
    affine: NDArray[np.float64] | None


class Header(NamedTuple):
    """What a file says of an image before its pixels are read.

    Attributes:
        shape: Spatial shape along the axes of the file.
        affine: 4×4 matrix from voxel indices to mm; None for a 2D image.
        frame: Identifier of the coordinate system, if the format has one.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64] | None
    frame: str | None = None


class Format(NamedTuple):
    """A format of image files; packages add theirs as entry points of the group `stampbench.readers`.

    Functions may raise any exception for a damaged file; one of `DatasetError` is shown as it is. They check the size
    of an image before they read its pixels, with `stampbench.datasets.formats.voxel_limit.check_voxels`.

    Attributes:
        endings: Endings of the files in lower case, such as `.png`.
        read: Returns the image in a file; its second argument says whether it is a label map.
        header: Returns the header of a file; None: there is no shorter way than to read the file.
        palette: Returns whether the pixels of a file are indices into a palette; None: they never are.
        companions: Returns other files that belong to a file; None: there are none.
        write: Writes a label map `(*spatial)` in the grid of the image in its first argument to the path in its second;
            None: label maps of such images are written as PNG files.
        first: Returns the file that stands for the image of which a file is a part; None: the file is no image. If this
            function is None, every file is an image of its own.
        structures: Returns the names of the structures whose masks `mask` reads; none for an image. None: files have no
            structures.
        mask: Returns the mask `(*spatial)` of the structures with some names in the grid of an image.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, bool], Picture]
    header: Callable[[Path], Header] | None = None
    palette: Callable[[Path], bool] | None = None
    companions: Callable[[Path], tuple[Path, ...]] | None = None
    write: Callable[[Path, Path, NDArray[np.generic]], None] | None = None
    first: Callable[[Path], Path | None] | None = None
    structures: Callable[[Path], tuple[str, ...]] | None = None
    mask: Callable[[Path, tuple[str, ...], Header], NDArray[np.uint8]] | None = None


def with_palette(indices: NDArray[np.generic], colours: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the colours `(channels, *spatial)` of a palette image: one channel if all of them are grey, else three.

    Args:
        indices: Palette index of each pixel, `(*spatial)`.
        colours: Red, green and blue of each palette entry, `(entries, 3)`.
    """
    channels: NDArray[np.generic] = np.moveaxis(colours[indices], -1, 0)  # type: ignore[index]
    return channels[:1] if (channels == channels[:1]).all() else channels
