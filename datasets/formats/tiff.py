"""Read TIFF files: images of one page, and stacks of pages as volumes."""

from __future__ import annotations

import json
import logging
import math
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.picture import Format, Picture, with_palette
from stampbench.datasets.formats.voxel_limit import check_voxels

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it says of damaged files is an error here
TIFF = (".tif", ".tiff")
"""Endings of the files that this module reads."""
_MOST_SIDECAR_BYTES = 2**16
_DEFLATE_RATIO = 1032
"""Largest ratio of compression that Deflate can reach."""
_LARGEST_SEGMENT = 2**28
"""Strips and tiles that cannot decompress to more bytes are not measured before they are read."""


def read_tiff(path: Path, label: bool) -> Picture:
    """Read a 2D image of one page, or a volume of several pages, whose spacing is in a separate JSON file.

    Args:
        path: The file.
        label: Whether it is a label map, whose palette indices are label values.

    Raises:
        DatasetError: when the compression is not supported, or the file has another number of dimensions or more
            voxels than the limit.
    """
    with _opened(path) as file:
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
        return Picture(np.moveaxis(pixels, -1, 0), None)
    if pixels.ndim == 4:
        spacing_file = sidecar(path)
        spacing = (1.0, 1.0, 1.0) if spacing_file is None else _read_spacing(spacing_file)
        return Picture(pixels.transpose(3, 2, 1, 0), np.diag([*spacing, 1.0]))
    raise DatasetError(f"{path}: has {pixels.ndim - 1} dimensions; 2 or 3 are required")


def tiff_has_palette(path: Path) -> bool:
    """Return whether a file's header says that its pixels are indices into a palette."""
    with _opened(path) as file:
        page: Any = file.pages[0]
        return bool(page.photometric == tifffile.PHOTOMETRIC.PALETTE)


def _read_with_pillow(path: Path, compression: str) -> NDArray[Any]:
    """Read compressions for which tifffile needs another package: LZW and JPEG among them."""
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            check_voxels(path, (getattr(image, "n_frames", 1), len(image.getbands()), image.height, image.width))
            pages = [np.asarray(page) for page in ImageSequence.Iterator(image)]
    except OSError as error:
        raise DatasetError(
            f"{path}: has {compression} compression, which needs the package 'imagecodecs'; run: "
            "pip install imagecodecs"
        ) from error
    return pages[0] if len(pages) == 1 else np.stack(pages)


def _opened(path: Path) -> tifffile.TiffFile:
    """Open a file without reading its pixels, after checking their number in the header."""
    # A file may name others as its parts; they could lie anywhere, so they are not opened.
    file = tifffile.TiffFile(path, _multifile=False)
    try:
        check_voxels(path, file.series[0].shape)
        for page in file.series[0].pages:
            if page is not None:
                _check_segments(path, page)
    except BaseException:
        file.close()
        raise
    return file


def _check_segments(path: Path, page: Any) -> None:
    """Check the strips or tiles of a page, which are decompressed one by one, each completely."""
    check_voxels(path, page.chunks)
    if page.compression == tifffile.COMPRESSION.LZMA:
        raise DatasetError(f"{path}: has LZMA compression, which is not supported")
    if page.compression not in (tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE):
        return
    expected = math.prod(page.chunks) * page.dtype.itemsize
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if length * _DEFLATE_RATIO > _LARGEST_SEGMENT and _inflated(path, offset, length, expected) > expected:
            raise DatasetError(f"{path}: a strip or tile decompresses to more than its {expected:,} bytes")


def _inflated(path: Path, offset: int, length: int, most: int) -> int:
    """Return the decompressed number of bytes of a part of a file; counting stops above `most`."""
    with path.open("rb") as file:
        file.seek(offset)
        data, inflate, size = file.read(length), zlib.decompressobj(), 0
    while data and size <= most:
        size += len(inflate.decompress(data, 2**20))
        data = inflate.unconsumed_tail
    return size


def sidecar(path: Path) -> Path | None:
    """Return the JSON file with the spacing of a TIFF stack, or None if there is none."""
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


def _companions(path: Path) -> tuple[Path, ...]:
    spacing_file = sidecar(path)
    return () if spacing_file is None else (spacing_file,)


def write_tiff(image: Path, output: Path, labels: NDArray[np.generic]) -> None:
    """Write a label map, with a copy of the spacing of the image's stack."""
    tifffile.imwrite(output, labels if labels.ndim == 2 else labels.transpose(2, 1, 0))
    if (spacing := sidecar(image)) is not None:
        shutil.copy(spacing, output.with_suffix(".json"))


FORMAT = Format(TIFF, read_tiff, palette=tiff_has_palette, companions=_companions, write=write_tiff)
