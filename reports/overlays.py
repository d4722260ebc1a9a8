"""Images with outlines of segmentations: thumbnails of predictions, and an overview of a dataset."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from stampbench.reports.escape import plot

CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
"""Okabe and Ito's colour-blind-safe palette, one colour per class."""
_OVERVIEW_COLUMNS = 4


class Example(NamedTuple):
    """One plane of a case: image, reference and prediction, each `(rows, columns)`.

    Reference and prediction are label maps of class indices. `aspect` is the height of a pixel over its width.
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
    """Select the plane of a case that shows most of the segmentation.

    For a volume this is the axial slice with the largest foreground of the reference (of the prediction if the
    reference is empty), rotated so that anterior is up. A 2D image is returned unchanged.

    Args:
        case: id of the case.
        image: `(rows, columns)` or, in RAS orientation, `(x, y, z)`.
        reference: label map of class indices, same shape.
        prediction: label map of class indices, same shape.
        spacing: size of a pixel or voxel along each axis.
    """
    if reference.ndim == 2:
        return Example(case, image, reference, prediction, spacing[0] / spacing[1])
    foreground = (reference > 0) if (reference > 0).any() else (prediction > 0)
    best = int(foreground.sum((0, 1)).argmax())

    def plane(volume: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(volume[..., best]).copy()

    return Example(case, plane(image), plane(reference), plane(prediction), spacing[1] / spacing[0])


def draw_image(axes: Axes, image: NDArray[np.float32], aspect: float) -> None:
    """Draw an image in grey, scaled between its 1st and 99th percentile, without axis lines."""
    low, high = np.percentile(image, (1, 99))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=aspect, interpolation="nearest")
    axes.axis("off")


def draw_outlines(axes: Axes, label: NDArray[np.uint8], classes: int, style: str = "solid", width: float = 1.2) -> None:
    """Draw the outline of every foreground class in the colour of the class.

    Args:
        axes: where to draw.
        label: label map of class indices, `(rows, columns)`.
        classes: number of classes, background included.
        style: matplotlib's line style.
        width: line width in points.
    """
    for value in range(1, classes):
        if (label == value).any():
            # A border of zeros closes outlines of regions that touch the edge of the image.
            mask = np.pad((label == value).astype(float), 1)
            coordinates = (np.arange(-1, length - 1) for length in mask.shape[::-1])
            axes.contour(
                *coordinates, mask, levels=[0.5], colors=class_colour(value), linewidths=width, linestyles=style
            )


def class_colour(value: int) -> str:
    """Return the colour of the foreground class with index `value`; index 0 is the background."""
    return CLASS_COLOURS[(value - 1) % len(CLASS_COLOURS)]


def thumbnails(examples: Sequence[Example], edge: int, quality: int) -> bytes:
    """Draw examples side by side as one WebP image.

    Outlines of the reference are green, of the prediction orange, and white where both coincide.

    Args:
        examples: planes to draw.
        edge: height and width of each thumbnail in pixels.
        quality: WebP quality from 0 to 100.
    """
    return _webp(np.concatenate([_thumbnail(each, edge) for each in examples], axis=1), quality)


def _thumbnail(example: Example, edge: int) -> NDArray[np.uint8]:
    """Return the region around the segmentations, resized to `(edge, edge, 3)`."""
    region = _square_around((example.reference > 0) | (example.prediction > 0))
    low, high = np.percentile(example.image, (1, 99))
    grey = np.clip((example.image[region] - low) / max(high - low, 1e-6), 0, 1)
    pixels = Image.fromarray((255 * grey).astype(np.uint8)).resize((edge, edge), Image.Resampling.BILINEAR)
    picture = np.stack([np.asarray(pixels)] * 3, axis=-1).copy()
    reference, prediction = (_outlines(each[region], edge) for each in (example.reference, example.prediction))
    picture[reference] = (0, 190, 130)
    picture[prediction] = (240, 130, 0)
    picture[reference & prediction] = (255, 255, 255)
    return picture


def _square_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return a square with a margin around the true pixels, cut at the border; the whole image if there are none."""
    if not mask.any():
        return slice(None), slice(None)
    centre = [int(np.flatnonzero(mask.any(1 - axis))[[0, -1]].mean()) for axis in (0, 1)]
    extent = max(int(np.ptp(np.flatnonzero(mask.any(1 - axis)))) + 1 for axis in (0, 1))
    half = max(int(0.75 * extent), 8)
    return tuple(  # type: ignore[return-value]
        slice(max(at - half, 0), min(at + half, length)) for at, length in zip(centre, mask.shape, strict=True)
    )


def _outlines(label: NDArray[np.uint8], edge: int) -> NDArray[np.bool_]:
    """Return the outlines of all classes of a label map resized to `(edge, edge)`."""
    resized = np.asarray(Image.fromarray(label).resize((edge, edge), Image.Resampling.NEAREST))
    outlines = np.zeros(resized.shape, bool)
    for value in np.unique(resized[resized > 0]):
        mask = resized == value
        outlines |= mask & ~ndimage.binary_erosion(mask)
    return outlines


def _webp(picture: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def overview(
    panels: Sequence[tuple[str, NDArray[np.float32], NDArray[np.uint8], float]], classes: Sequence[str]
) -> Figure:
    """Draw a grid of images with the outlines of every class, to inspect a dataset before training.

    Args:
        panels: for each image its title, the image `(rows, columns)`, its label map of class indices, and the height
            of a pixel over its width.
        classes: names by class index, the background first.
    """
    rows = -(-len(panels) // _OVERVIEW_COLUMNS)
    figure = Figure(figsize=(3 * _OVERVIEW_COLUMNS, 3.2 * rows + 0.6), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, _OVERVIEW_COLUMNS, squeeze=False).flat, panels, strict=False):
        title, image, label, aspect = panel
        draw_image(axes, image, aspect)
        draw_outlines(axes, label, len(classes))
        axes.set_title(plot(title if len(title) < 36 else f"{title[:16]}…{title[-18:]}"), fontsize=8)
    for axes in figure.axes:
        axes.axis("off")
    handles = [
        Line2D([], [], color=class_colour(value), label=plot(classes[value])) for value in range(1, len(classes))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)
    return figure


def write_overview(
    path: Path, panels: Sequence[tuple[str, NDArray[np.float32], NDArray[np.uint8], float]], classes: Sequence[str]
) -> None:
    """Write an overview as PNG, SVG or PDF, according to the suffix of `path`; see `overview` for the arguments."""
    overview(panels, classes).savefig(path, dpi=110)
