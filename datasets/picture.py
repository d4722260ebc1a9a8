"""An image as its file stores it."""

from __future__ import annotations

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


def with_palette(indices: NDArray[np.generic], colours: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the colours `(channels, *spatial)` of a palette image: one channel if all of them are grey, else three.

    Args:
        indices: Palette index of each pixel, `(*spatial)`.
        colours: Red, green and blue of each palette entry, `(entries, 3)`.
    """
    channels: NDArray[np.generic] = np.moveaxis(colours[indices], -1, 0)  # type: ignore[index]
    return channels[:1] if (channels == channels[:1]).all() else channels
