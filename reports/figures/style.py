"""What all figures share: colours, panels, and how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stampbench.reports.palette import COLOURS, places

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
_MOST_PANELS = 6
_WIDEST = 17.0
"""Inches; beyond it text is too small where a figure is fitted into a page."""
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
    """The records hold nothing that the figure shows."""


def looks(strategies: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each strategy; both differ, so that grey prints can be read."""
    return {
        name: (COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])
        for name, place in places(strategies).items()
    }


def panels(
    runs: pd.DataFrame, by: Sequence[str] = _GROUP, *, width: float = 4.2, height: float = 3.6, rows: int = 1
) -> tuple[Figure, list[tuple[list[Axes], pd.DataFrame]]]:
    """A figure with a column of `rows` axes for every group of runs, titled by what the group has in common.

    Columns that would make it wider than a screen go below the others.

    Raises:
        NothingToDrawError: no runs, or more groups than anyone can read.
    """
    if runs.empty:
        raise NothingToDrawError("no run has what this figure shows")
    groups = [group for _, group in runs.groupby(list(by), sort=True)]
    if len(groups) > _MOST_PANELS:
        raise NothingToDrawError(
            f"{len(groups)} panels in one figure are too many; --dataset, --n-train, --protocol or --strategy choose"
        )
    lines = math.ceil(len(groups) / max(1, int(_WIDEST / width)))
    columns = math.ceil(len(groups) / lines)
    figure = Figure(figsize=(max(width * columns, 5.0), height * rows * lines), layout="constrained")
    axes = figure.subplots(rows * lines, columns, squeeze=False)
    found = []
    for number, group in enumerate(groups):
        line, column = divmod(number, columns)
        own = list(axes[line * rows : (line + 1) * rows, column])
        own[0].set_title(title(group))
        found.append((own, group))
    for empty in axes[(lines - 1) * rows :, columns - (lines * columns - len(groups)) :].flat:
        empty.set_axis_off()
    return figure, found


def title(group: pd.DataFrame) -> str:
    """What a reader has to know of a group of runs, in two lines."""
    first = group.iloc[0]
    sizes = group["n_train"].unique()
    images = f", {sizes[0]} training images" if len(sizes) == 1 else ""
    synthetic = " (synthetic)" if first["synthetic"] else ""
    protocols = sorted({base_protocol(each) for each in group["protocol"]})
    return f"{first['dataset']}{synthetic}{images}\nprotocol {', '.join(protocols)}, {first['form']}"


def base_protocol(label: str) -> str:
    """A protocol's label without its cap of epochs, which is what a budget is."""
    return without_setting(label, "max_epochs")


def without_setting(label: str, name: str) -> str:
    """A label without one `name=value` of its brackets."""
    match = re.fullmatch(r"(.*?) \((.*)\)", label)
    if match is None:
        return label
    kept = [each for each in match[2].split(", ") if not each.startswith(f"{name}=")]
    return f"{match[1]} ({', '.join(kept)})" if kept else match[1]


def number_layers(axes: Axes, layers: int) -> None:
    """Ticks at whole layers, counted from 1 as the papers do."""
    axes.set_xticks(range(1, layers + 1, 2))


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below all panels, each name once."""
    handles: dict[str, Any] = {}
    for each in axes:
        found, labels = each.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
        if (own := each.get_legend()) is not None:
            own.remove()
    if handles:
        columns = _columns(figure, list(handles))
        figure.set_figheight(figure.get_figheight() + 0.21 * -(-len(handles) // columns))
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower center", ncols=columns
        )  # fmt: skip


def _columns(figure: Figure, names: Sequence[str]) -> int:
    """As many as the figure is wide for: a handle, and about a fourteenth of an inch per character."""
    width = 0.6 + max(map(len, names)) / 14
    return max(1, min(len(names), int(figure.get_figwidth() / width)))


def save(figure: Figure, path: Path) -> list[Path]:
    """Write as SVG and PNG beside each other, or as one of them where `path` ends so."""
    endings = [path.suffix] if path.suffix in (".svg", ".png", ".pdf") else [".svg", ".png"]
    written = []
    for ending in endings:
        target = path.with_suffix(ending)
        # No date, no version: the same records make the same file.
        metadata = {"Date": None, "Creator": None} if ending == ".svg" else None
        figure.savefig(target, dpi=160, metadata=metadata)
        written.append(target)
    return written
