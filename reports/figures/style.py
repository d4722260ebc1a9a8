"""Layout, titles, legends and saving of figures; importing it sets matplotlib's fonts and grid."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from stampbench.reports.budget import exact
from stampbench.reports.looks import Look

_MAX_PANELS = 6
_MAX_WIDTH = 17.0
"""Inches; text in a wider figure is too small once the figure is scaled to the width of a page."""
_GROUP = ("dataset", "n_train", "protocol", "group")

mpl.rcParams.update(
    {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E5E5E5",
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "stampbench",
    }
)


class NothingToDrawError(ValueError):
    """The records do not contain what the figure shows, or contain too much for one figure.

    Attributes:
        setting: name of the setting that a user can change, such as `dataset`; None if there is no such setting.
    """

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


def panels(
    runs: pd.DataFrame,
    by: Sequence[str] = _GROUP,
    *,
    width: float = 4.2,
    height: float = 3.6,
    rows: int = 1,
    most: int = _MAX_PANELS,
    share: bool = False,
) -> tuple[Figure, list[tuple[list[Axes], pd.DataFrame]]]:
    """Create a figure with one panel for every group of runs.

    Panels are placed side by side and continue in a new line where the figure would become too wide.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        by: columns that define a group.
        width: width of a panel in inches.
        height: height of an axes in inches.
        rows: number of axes below each other in a panel.
        most: most panels.
        share: whether all panels have the same axes.

    Returns:
        The figure, and for each panel its axes from top to bottom and the runs of its group.

    Raises:
        NothingToDrawError: when there are no runs, or more groups than a figure can show.
    """
    if runs.empty:
        raise NothingToDrawError("no run has the data that this figure shows")
    groups = [group for _, group in runs.groupby(list(by), sort=True)]
    if len(groups) > most:
        raise NothingToDrawError(
            f"these runs need {len(groups)} panels, but a figure holds at most {most}; "
            "select a dataset, training size, protocol or strategy",
            setting="dataset",
        )
    lines = math.ceil(len(groups) / max(1, int(_MAX_WIDTH / width)))
    columns = math.ceil(len(groups) / lines)
    figure = Figure(figsize=(max(width * columns, 5.0), height * rows * lines), layout="constrained")
    axes = figure.subplots(rows * lines, columns, squeeze=False, sharex=share, sharey=share)
    found = []
    for number, group in enumerate(groups):
        line, column = divmod(number, columns)
        panel = list(axes[line * rows : (line + 1) * rows, column])
        panel[0].set_title(title(group))
        found.append((panel, group))
    for empty in axes[(lines - 1) * rows :, columns - (lines * columns - len(groups)) :].flat:
        empty.set_axis_off()
    return figure, found


def title(group: pd.DataFrame) -> str:
    """Return two lines with the dataset, training size, protocol and image form of a group of runs."""
    first = group.iloc[0]
    sizes = group["n_train"].unique()
    images = f", {sizes[0]} training images" if len(sizes) == 1 else ""
    synthetic = " (synthetic)" if first["synthetic"] else ""
    protocols = sorted({base_protocol(each) for each in group["protocol"]})
    return f"{first['dataset']}{synthetic}{images}\nprotocol {', '.join(protocols)}, {first['form']}"


def base_protocol(label: str) -> str:
    """Return the label of a protocol without its cap of epochs, so that runs with different caps share a label."""
    return without_setting(label, "max_epochs")


def without_setting(label: str, name: str) -> str:
    """Return a label without the setting `name=value` in its parentheses."""
    match = re.fullmatch(r"(.*?) \((.*)\)", label)
    if match is None:
        return label
    kept = [each for each in match[2].split(", ") if not each.startswith(f"{name}=")]
    return f"{match[1]} ({', '.join(kept)})" if kept else match[1]


def wrapped(label: str) -> str:
    """Return a label of an axis in lines of at most 34 characters."""
    return fill(label, 34)


def hatch(patch: Any, look: Look) -> None:
    """Hatch a box or bar like its strategy, with white lines, which every colour contrasts with."""
    if look.hatch:
        patch.set(hatch=look.hatch, edgecolor="white", linewidth=0)


def number_layers(axes: Axes, layers: int) -> None:
    """Set ticks at every second layer; layers are counted from 1 as in the papers."""
    axes.set_xticks(range(1, layers + 1, 2))


def parameter_axis(axes: Axes) -> None:
    """Give a panel a logarithmic axis of parameters, with few labels such as 30 k, so that they do not overlap."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: exact(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Draw one legend below all panels, with each label once, and remove the legends of the axes."""
    handles: dict[str, Any] = {}
    for each in axes:
        found, labels = each.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
        if (own_legend := each.get_legend()) is not None:
            own_legend.remove()
    if handles:
        columns = _legend_columns(figure, list(handles))
        figure.set_figheight(figure.get_figheight() + 0.21 * -(-len(handles) // columns))
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=columns
        )  # fmt: skip


def _legend_columns(figure: Figure, labels: Sequence[str]) -> int:
    """Return how many columns fit the figure; a column takes a handle and about 1/14 inch per character."""
    width = 0.6 + max(map(len, labels)) / 14
    return max(1, min(len(labels), int(figure.get_figwidth() / width)))


ENDINGS = (".svg", ".png", ".pdf")
"""Formats of figures."""


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure and return the paths of the files.

    An ending `.svg`, `.png` or `.pdf` of `path` selects the format. With another one or none, an SVG and a PNG are
    written, whose endings follow the name.
    """
    whole = path.suffix.lower() in ENDINGS
    written = []
    for suffix in [path.suffix.lower()] if whole else [".svg", ".png"]:
        target = path if whole else path.with_name(path.name + suffix)
        # The file contains no date and no version, so the same records always give the same file.
        metadata = {"Date": None, "Creator": None} if suffix == ".svg" else None
        figure.savefig(target, dpi=160, metadata=metadata)
        written.append(target)
    return written
