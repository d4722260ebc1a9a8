"""Comparison of an image's scale with that of the images that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul
from pathlib import Path

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.numpy import NUMPY
from stampbench.datasets.formats.tiff import TIFF

_TOLERANCE = 1.5
"""Ratio beyond the range of the training images from which on the scale counts as another one."""
_REMEDY = "resample the image, or train with the fit 'resize'"
_WITHOUT_SPACING = (*TIFF, *NUMPY)
"""Endings of files that have no spacing of their own."""


def scale_warning(path: Path, described: DatasetDescription) -> str | None:
    """Return a line if structures in an image have another scale than in training, else None.

    Volumes are compared by voxel size, pictures by their size in pixels. Images that are resized like the training
    images are compared by their extent in mm, or by the ratio of their edges where the spacing is unknown.

    Args:
        path: the image.
        described: the dataset that the network was trained on.

    Raises:
        DatasetError: when the image cannot be read.
    """
    dims, resized = described.preprocessing.spatial_dims, described.preprocessing.fit == "resize"
    shape = image_io.shape(path)
    sizes: Sequence[Sequence[float]] = described.image_sizes or [described.preprocessing.size] * 2
    if described.unit == "mm" and len(shape) == 3:
        spacing = image_io.spacing(path)
        unknown = spacing == (1.0, 1.0, 1.0) and path.name.lower().endswith(_WITHOUT_SPACING)
        if described.spacings is None or unknown:  # without spacings, the record is older than this comparison
            return None
        if not resized:
            return _compared(path, "voxels of", "mm", _REMEDY, spacing, described.spacings, dims)
        if described.image_sizes is None:
            return None
        extents = [list(map(mul, *each)) for each in zip(sizes, described.spacings, strict=True)]
        extent = list(map(mul, shape, spacing))
        return _compared(path, "an extent of", "mm", "crop or pad the image", extent, extents, dims)
    if not resized:
        return _compared(path, "a size of", "px", _REMEDY, shape, sizes, dims)
    if described.image_sizes is None:
        return None
    least, most = sizes
    ratios = [[1, *(edge / most[0] for edge in least[1:])], [1, *(edge / least[0] for edge in most[1:])]]
    ratio = [edge / shape[0] for edge in shape]
    return _compared(path, "the shape", "(relative edges)", "crop or pad the image", ratio, ratios, dims)


def _compared(
    path: Path,
    what: str,
    unit: str,
    remedy: str,
    found: Sequence[float],
    trained: Sequence[Sequence[float]],
    dims: int,
) -> str | None:
    """Return the warning if a number of `found` is far from the range of the training images, else None.

    Args:
        path: the image.
        what: what is compared, in words.
        unit: its unit.
        remedy: what a user can do.
        found: the image's number for each axis.
        trained: the smallest and the largest numbers of the training images.
        dims: how many axes are compared.
    """
    axes = list(zip(found, *trained, strict=False))[:dims]
    if all(least / _TOLERANCE <= edge <= most * _TOLERANCE for edge, least, most in axes):
        return None
    text, low, high = ("×".join(f"{edge:.4g}" for edge in edges) for edges in zip(*axes, strict=True))
    usual = low if low == high else f"{low} to {high}"
    return (
        f"{path}: has {what} {text} {unit}, but the training images had {usual} {unit}, so structures have another "
        f"scale than in training; {remedy}"
    )
