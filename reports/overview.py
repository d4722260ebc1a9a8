"""Cases of a dataset with their outlines, to look at before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from stampbench.reports.overlays import colour, draw_image, draw_outlines

_COLUMNS = 4


def overview(
    panels: Sequence[tuple[str, NDArray[np.float32], NDArray[np.uint8], float]], classes: Sequence[str]
) -> Figure:
    """A grid of pictures with the outline of every class.

    Args:
        panels: title, image `(rows, columns)`, label map of class indices, height of a row over width of a column.
        classes: names by class index, the background first.
    """
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 3.2 * rows + 0.6), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, _COLUMNS, squeeze=False).flat, panels, strict=False):
        title, image, label, aspect = panel
        draw_image(axes, image, aspect)
        draw_outlines(axes, label, len(classes))
        axes.set_title(title if len(title) < 36 else f"{title[:16]}…{title[-18:]}", fontsize=8)
    for axes in figure.axes:
        axes.axis("off")
    handles = [Line2D([], [], color=colour(value), label=classes[value]) for value in range(1, len(classes))]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False)
    return figure


def write_overview(
    path: Path, panels: Sequence[tuple[str, NDArray[np.float32], NDArray[np.uint8], float]], classes: Sequence[str]
) -> None:
    """Write an overview as PNG, SVG or PDF, by the ending of `path`."""
    overview(panels, classes).savefig(path, dpi=110)
