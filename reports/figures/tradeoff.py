"""Figures of what a score costs."""

from __future__ import annotations

import math

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stampbench.reports.figures.scores import yerror
from stampbench.reports.figures.style import NothingToDrawError, legend, looks, panels
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.speed import speeds


def pareto(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Test Dice against parameters and, where it was measured, latency; the line joins what nothing beats.

    Bars are 95 % intervals over subjects, see `leaderboards`.
    """
    boards = {
        name: leaderboards(group, cases[cases["run"].isin(group["run"])], timings)[0]
        for name, group in runs.groupby("group")
    }
    timed = any(board.rows["latency_ratio"].notna().any() for board in boards.values())
    figure, columns = panels(runs, rows=2 if timed else 1, height=3.2)
    styles = looks(runs["strategy"])
    for axes, group in columns:
        board = boards[group["group"].iloc[0]]
        _front(axes[0], board.rows, "parameters", "pareto_parameters", styles)
        axes[0].set_xscale("log")
        axes[0].set(xlabel="parameters of the selected network", ylabel="test Dice")
        if timed:
            _front(axes[1], board.rows, "latency_ratio", "pareto_latency", styles)
            backend = speeds(group, timings).backend
            axes[1].set(xlabel=f"latency × standard ({backend})", ylabel="test Dice")
            axes[1].set_visible(bool(backend))
    legend(figure, [axis for axes, _ in columns for axis in axes])
    return figure


def latency_by_backend(runs: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Latency over that of the standard network, a group of bars for every backend."""
    if timings.empty:
        raise NothingToDrawError("no network was timed; 'stampbench latency RUN... --record' does it")
    backends = sorted(timings["backend"].unique())
    shown = runs[runs["run"].isin(timings["run"])]
    figure, columns = panels(shown, width=5.0)
    styles = looks(shown["strategy"])
    drawn, machines = 0, set[str]()
    for (axes,), group in columns:
        own = timings[timings["run"].isin(group["run"])]
        rows = [
            {"strategy": strategy, "backend": backend, "ratio": ratio}
            for backend in backends
            for strategy, ratio in speeds(group, own, backend).ratios.items()
        ]
        drawn += len(rows)
        if rows:
            sns.barplot(
                pd.DataFrame(rows), x="ratio", y="strategy", hue="backend", hue_order=backends, ax=axes,
                order=[name for name in styles if name in {row["strategy"] for row in rows}],
                palette=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"][: len(backends)],
            )  # fmt: skip
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xlabel="latency × standard, one image", ylabel="")
        machines.update(filter(None, [speeds(group, own).machine]))
    if not drawn:
        raise NothingToDrawError("no standard network was timed on the machine of the others")
    figure.suptitle("; ".join(sorted(machines)), fontsize=7)
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _front(axes: Axes, rows: pd.DataFrame, x: str, mark: str, styles: dict[str, tuple[str, str]]) -> None:
    for row in rows.to_dict("records"):
        at = float(row[x])
        if math.isnan(at):
            continue
        colour, marker = styles[row["strategy"]]
        bars = yerror([[row["dice"] - row["dice_low"]], [row["dice_high"] - row["dice"]]])
        axes.errorbar(
            [at], [row["dice"]], bars, color=colour, marker=marker, markersize=6, elinewidth=0.8, capsize=2,
            linestyle="none", label=row["strategy"],
        )  # fmt: skip
    front = rows[rows[mark]].sort_values(x)
    axes.plot(front[x], front["dice"], color="#777777", linewidth=1, zorder=0)
