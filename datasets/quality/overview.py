"""Slices of prepared cases for visual inspection: what networks are given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.preparation.preprocessing import preprocess
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers.reader import RawCase


class OverviewPanel(NamedTuple):
    """A slice of a prepared case.

    Attributes:
        title: Case id and, for a volume, the index of the slice.
        image: First channel `(rows, columns)`.
        label: Class indices `(rows, columns)`.
        aspect: Height of a row divided by the width of a column.
    """

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    aspect: float


def panel(title: str, raw: RawCase, config: PreprocessingConfig) -> OverviewPanel:
    """Return a prepared picture, or the axial slice with the most foreground of a prepared volume, anterior up.

    Args:
        title: Id of the case.
        raw: The case.
        config: How the dataset's cases are prepared.
    """
    arrays = preprocess(raw, config)
    images, labels, original = arrays.images[:, 0], arrays.labels, arrays.reference.shape
    if config.fit == "resize":
        pixel = [edge * full / size for edge, full, size in zip(arrays.spacing, original, config.size, strict=False)]
    else:
        pixel = list(arrays.spacing)
    if len(original) == 2:
        return OverviewPanel(title, images[0].copy(), labels[0].copy(), pixel[0] / pixel[1])
    if config.spatial_dims == 3:
        images, labels = (np.moveaxis(each[0], -1, 0) for each in (images, labels))
    area = (labels > 0).sum((1, 2))
    best = int(area.argmax()) if area.any() else len(area) // 2
    return OverviewPanel(
        title=f"{title}, slice {best}",
        image=np.rot90(images[best]).copy(),
        label=np.rot90(labels[best]).copy(),
        aspect=pixel[1] / pixel[0],
    )
