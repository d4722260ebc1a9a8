"""Read PNG, JPEG, BMP and GIF files with Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.picture import Format, Header, Picture, with_palette
from stampbench.datasets.formats.voxel_limit import check_voxels

PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
"""Endings of the files that this module reads."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF")
"""Pillow recognises formats by content; others, some of which call programs, are not opened."""


def read_pillow(path: Path, label: bool) -> Picture:
    """Read a 2D image file.

    Args:
        path: The file.
        label: Whether it is a label map. The palette of an image is applied, because its indices say nothing about
            brightness. The palette indices of a label map are label values, except in GIF files, whose writers number
            colours as they like: if these are grey, their brightness is the value.

    Raises:
        DatasetError: when the file has several frames, or more voxels than the limit.
    """
    with _opened(path) as image:
        if (frames := getattr(image, "n_frames", 1)) != 1:
            raise DatasetError(f"{path}: has {frames} frames; a single one is required")
        if image.mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image)
        if image.mode == "P":
            colours = with_palette(pixels, np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3))
            if not label or (image.format == "GIF" and len(colours) == 1):
                return Picture(colours, None)
    return Picture(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0), None)


def pillow_header(path: Path) -> Header:
    """Return the height and width in a file's header."""
    with _opened(path) as image:
        return Header((image.height, image.width), None)


def has_palette(path: Path) -> bool:
    """Return whether a file's header says that its pixels are indices into a palette."""
    with _opened(path) as image:
        return image.mode == "P"


def _opened(path: Path) -> Image.Image:
    """Open a file without reading its pixels, after checking their number in the header."""
    # Not the path: Pillow would reserve the length that a chunk claims, which a file in memory cannot exceed.
    image = Image.open(io.BytesIO(path.read_bytes()), formats=_FORMATS)
    try:
        check_voxels(path, (len(image.getbands()), image.height, image.width))
    except DatasetError:
        image.close()
        raise
    return image


FORMAT = Format(PILLOW, read_pillow, pillow_header, has_palette)
