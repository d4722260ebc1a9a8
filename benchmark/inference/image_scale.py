"""Comparison of an image's scale with that of the images that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.datasets import image_io
from stampbench.datasets.numpy_format import NUMPY
from stampbench.datasets.tiff_format import TIFF

_TOLERANCE = 1.5
"""Ratio beyond the range of the training images from which on the scale counts as another one."""
_WITHOUT_SPACING = (*TIFF, *NUMPY)
"""Endings of files that have no spacing of their own."""


def scale_warning(path: Path, described: DatasetDescription) -> str | None:
    """Return a line if structures in an image have another scale than in training, else None.

    Volumes are compared by voxel size, pictures by their size in pixels. Images that are resized like the training
    images have their scale.

    Args:
        path: the image.
        described: the dataset that the network was trained on.

    Raises:
        DatasetError: when the image cannot be read.
    """
    if described.preprocessing.fit == "resize":
        return None
    dims = described.preprocessing.spatial_dims
    found: Sequence[float]
    trained: Sequence[Sequence[float]]
    if described.unit == "mm" and len(image_io.shape(path)) == 3:
        unknown = image_io.spacing(path) == (1.0, 1.0, 1.0) and path.name.lower().endswith(_WITHOUT_SPACING)
        if described.spacings is None or unknown:  # without spacings, the record is older than this comparison
            return None
        found, trained, what, unit = image_io.spacing(path), described.spacings, "voxels of", "mm"
    else:
        trained = described.image_sizes or [described.preprocessing.size] * 2
        found, what, unit = image_io.shape(path), "a size of", "px"
    axes = list(zip(found, *trained, strict=False))[:dims]
    if all(least / _TOLERANCE <= edge <= most * _TOLERANCE for edge, least, most in axes):
        return None
    text, low, high = ("×".join(f"{edge:g}" for edge in edges) for edges in zip(*axes, strict=True))
    usual = low if low == high else f"{low} to {high}"
    return (
        f"{path}: has {what} {text} {unit}, but the training images had {usual} {unit}, so structures have another "
        "scale than in training; resample the image, or train with the fit 'resize'"
    )
