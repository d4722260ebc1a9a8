"""Pictures of segmentations: an image, the reference's outlines, and a prediction's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

OUTLINES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito's colours, which colour-blind readers can tell apart, one per class."""


class Example(NamedTuple):
    """One plane of a case: image, reference and prediction `(rows, columns)`, label maps of class indices.

    `aspect` is the height of a row over the width of a column.
    """

    case: str
    image: NDArray[np.float32]
    reference: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    aspect: float


def best_plane(
    case: str, image: NDArray[np.float32], reference: NDArray[np.uint8], prediction: NDArray[np.uint8],
    spacing: Sequence[float],
) -> Example:  # fmt: skip
    """Of a volume the axial slice with most foreground, anterior up; pictures as they are."""
    if reference.ndim == 2:
        return Example(case, image, reference, prediction, spacing[0] / spacing[1])
    foreground = (reference > 0) if (reference > 0).any() else (prediction > 0)
    best = int(foreground.sum((0, 1)).argmax())

    def plane(volume: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(volume[..., best]).copy()

    return Example(case, plane(image), plane(reference), plane(prediction), spacing[1] / spacing[0])


def draw_image(axes: Axes, image: NDArray[np.float32], aspect: float) -> None:
    """The image in grey between its first and 99th percentile, without axes."""
    low, high = np.percentile(image, (1, 99))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect, interpolation="nearest")
    axes.axis("off")


def draw_outlines(axes: Axes, label: NDArray[np.uint8], classes: int, style: str = "solid", width: float = 1.2) -> None:
    """The outline of every class `1` to `classes - 1` in its colour."""
    for value in range(1, classes):
        if (label == value).any():
            # A frame of zeros closes outlines at the border.
            mask = np.pad((label == value).astype(float), 1)
            edges = (np.arange(-1, length - 1) for length in mask.shape[::-1])
            axes.contour(*edges, mask, levels=[0.5], colors=colour(value), linewidths=width, linestyles=style)


def thumbnails(examples: Sequence[Example], edge: int, quality: int) -> bytes:
    """The examples side by side as one WebP, the reference green, the prediction orange, where they agree white."""
    return _webp(np.concatenate([_thumbnail(each, edge) for each in examples], axis=1), quality)


def colour(value: int) -> str:
    """Of a class by its index, the background being 0."""
    return OUTLINES[(value - 1) % len(OUTLINES)]


def _thumbnail(example: Example, edge: int) -> NDArray[np.uint8]:
    """`(edge, edge, 3)`: the part around reference and prediction, enlarged or reduced to a square."""
    where = _around((example.reference > 0) | (example.prediction > 0))
    low, high = np.percentile(example.image, (1, 99))
    grey = np.clip((example.image[where] - low) / max(high - low, 1e-6), 0, 1)
    pixels = Image.fromarray((255 * grey).astype(np.uint8)).resize((edge, edge), Image.Resampling.BILINEAR)
    picture = np.stack([np.asarray(pixels)] * 3, axis=-1).copy()
    reference, prediction = (_edges(each[where], edge) for each in (example.reference, example.prediction))
    picture[reference] = (0, 190, 130)
    picture[prediction] = (240, 130, 0)
    picture[reference & prediction] = (255, 255, 255)
    return picture


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """A square around what is marked, with a margin; all of it where nothing is."""
    if not mask.any():
        return slice(None), slice(None)
    centre = [int(np.flatnonzero(mask.any(1 - axis))[[0, -1]].mean()) for axis in (0, 1)]
    extent = max(int(np.ptp(np.flatnonzero(mask.any(1 - axis)))) + 1 for axis in (0, 1))
    half = max(int(0.75 * extent), 8)
    return tuple(  # type: ignore[return-value]
        slice(max(at - half, 0), min(at + half, length)) for at, length in zip(centre, mask.shape, strict=True)
    )


def _edges(label: NDArray[np.uint8], edge: int) -> NDArray[np.bool_]:
    """The outlines of all classes of a label map enlarged to `(edge, edge)`."""
    enlarged = np.asarray(Image.fromarray(label).resize((edge, edge), Image.Resampling.NEAREST))
    found = np.zeros(enlarged.shape, bool)
    for value in np.unique(enlarged[enlarged > 0]):
        mask = enlarged == value
        found |= mask & ~ndimage.binary_erosion(mask)
    return found


def _webp(picture: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()
