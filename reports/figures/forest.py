"""Figure of differences between a strategy and others: a row per comparison, with interval and decision."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from stampbench.reports.comparison import Comparison, corrected, row_names
from stampbench.reports.figures.style import NothingToDrawError, legend

_COLOURS = {"better": "#0072B2", "worse": "#D55E00", "equivalent": "#009E73"}
_PALE = "#8C8C8C"
"""Colour of what is not decided."""
_LABEL = 44
"""Characters of a line of a label."""


def forest(comparisons: Sequence[Comparison]) -> Figure:
    """Draw the differences of a strategy to others: mean, 95 % interval over runs and subjects, and decision.

    Small points are the pairs of runs; the shaded band is the margin of equivalence. Decisions are corrected for the
    number of rows, as in the table of `compare`.

    Args:
        comparisons: comparisons of one strategy with others.

    Raises:
        NothingToDrawError: when there is no comparison.
    """
    if not comparisons:
        raise NothingToDrawError("there is nothing to compare")
    figure = Figure(figsize=(9.5, 1.1 + 0.42 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    margin = max(each.margin for each in comparisons)
    edge = _edge(comparisons, margin)
    axes.axvspan(-margin, margin, color="#E9F2EE", zorder=0, label=f"margin of equivalence, ±{margin:g}")
    axes.axvline(0, color="#444444", linewidth=0.8, zorder=1)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for row, (each, (_, decision)) in enumerate(zip(comparisons, corrected(comparisons), strict=True)):
        colour = _COLOURS.get(decision, _PALE)
        _draw_runs(axes, each, row, edge)
        low, high = each.difference.interval()
        axes.plot(
            [low, high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt",
            label="95 % interval over runs and subjects" if row == 0 else None,
        )  # fmt: skip
        axes.plot([each.difference.mean], [row], "D", color=colour, markersize=5)
        axes.text(1.01, row, decision, transform=beside, va="center", color=colour)
    shared = row_names(comparisons)
    axes.set_yticks(range(len(comparisons)), [fill(name, _LABEL) for name in shared.names])
    axes.set_xlim(-edge, edge)
    axes.set_ylim(len(comparisons) - 0.4, -0.6)
    subtracted, board = shared.other or "the row's strategy", f"\n{shared.board}" if shared.board else ""
    axes.set_xlabel(f"difference in test Dice, {comparisons[0].first} minus {subtracted}{board}")
    axes.grid(axis="y", visible=False)
    legend(figure, [axes])
    return figure


def _edge(comparisons: Sequence[Comparison], margin: float) -> float:
    """Return the end of the axis: all intervals and means are inside, and nine of ten pairs of runs."""
    ends = [abs(end) for each in comparisons for end in (*each.difference.interval(), each.difference.mean)]
    runs = np.concatenate([np.abs(each.runs.to_numpy()) for each in comparisons])
    return 1.15 * float(np.nanmax([*ends, 1.2 * margin, np.quantile(runs, 0.9)]))


def _draw_runs(axes: Axes, comparison: Comparison, row: int, edge: float) -> None:
    """Draw the pairs of runs below a row; those beyond the axis are an arrow at its end, with their values."""
    inside = comparison.runs[comparison.runs.abs() <= edge]
    below = [row + 0.22] * len(inside)
    axes.plot(inside, below, "o", color=_PALE, alpha=0.45, markersize=2.5, label="pairs of runs")
    for sign, marker, side in ((-1, "<", "left"), (1, ">", "right")):
        beyond = sorted(comparison.runs[sign * comparison.runs > edge])
        if not beyond:
            continue
        axes.plot(
            [sign * edge], [row + 0.22], marker, color=_PALE, markersize=4, clip_on=False, label="pair beyond the axis"
        )
        axes.annotate(
            _values(beyond), (sign * edge, row + 0.22), (-5 * sign, -6), va="center",
            fontsize=7, textcoords="offset points", ha=side, color=_PALE,
        )  # fmt: skip


def _values(beyond: Sequence[float]) -> str:
    """Return two values, or how many there are and the farthest of them."""
    if len(beyond) > 2:
        return f"{len(beyond)} pairs, to {max(beyond, key=abs):+.3f}"
    return ", ".join(f"{value:+.3f}" for value in beyond)
