"""Read TIFF files: images of one page, and stacks of pages as volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.picture import with_palette

TIFF = (".tif", ".tiff")
"""Endings of the files that this module reads."""


def read_tiff(path: Path, *, label: bool) -> NDArray[np.generic]:
    """Read a file into an array: `(channels, rows, columns)` of one page, `(channels, x, y, z)` of several pages.

    Args:
        path: The file.
        label: Whether it is a label map, whose palette indices are label values.

    Raises:
        DatasetError: when the compression is not supported, or the file has another number of dimensions.
    """
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        samples = page.samplesperpixel
        try:
            pixels = file.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            pixels = _read_with_pillow(path, page.compression.name)
        planar = samples > 1 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        colours = None if label or page.photometric != tifffile.PHOTOMETRIC.PALETTE else page.colormap
    if colours is not None:
        # Some programs store 8-bit colours times 256 in the 16 bits of a TIFF palette, others times 257.
        pixels = np.moveaxis(with_palette(pixels, (colours.T >> 8).astype(np.uint8)), 0, -1)
    elif samples == 1:
        pixels = pixels[..., None]
    elif planar:
        pixels = np.moveaxis(pixels, -3, -1)
    if pixels.ndim == 3:
        return np.moveaxis(pixels, -1, 0)
    if pixels.ndim == 4:
        return pixels.transpose(3, 2, 1, 0)  # type: ignore[no-any-return]
    raise DatasetError(f"{path}: has {pixels.ndim - 1} dimensions; 2 or 3 are required")


def tiff_has_palette(path: Path) -> bool:
    """Return whether a file's header says that its pixels are indices into a palette."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        return bool(page.photometric == tifffile.PHOTOMETRIC.PALETTE)


def _read_with_pillow(path: Path, compression: str) -> NDArray[Any]:
    """Read compressions for which tifffile needs another package: LZW and JPEG among them."""
    try:
        with Image.open(path) as image:
            pages = [np.asarray(page) for page in ImageSequence.Iterator(image)]
    except OSError as error:
        raise DatasetError(
            f"{path}: has {compression} compression, which needs the package 'imagecodecs'; run: "
            "pip install imagecodecs"
        ) from error
    return pages[0] if len(pages) == 1 else np.stack(pages)
