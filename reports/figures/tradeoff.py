"""Figures of test Dice against parameters and latency, and of latency by backend."""

from __future__ import annotations

import math

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stampbench.reports.figures.scores import yerror
from stampbench.reports.figures.style import NothingToDrawError, legend, panels
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.palette import strategy_styles
from stampbench.reports.speed import speeds


def pareto(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw test Dice against parameters and, if it was measured, latency; lines are the Pareto fronts.

    Error bars are 95 % confidence intervals over runs and subjects, see `leaderboards`.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        cases: rows of `cases` as for `leaderboards`.
        timings: rows of `timings` as for `leaderboards`.
        **_: other tables of the records, which are not used.
    """
    boards = {
        name: leaderboards(group, cases[cases["run"].isin(group["run"])], timings)[0]
        for name, group in runs.groupby("group")
    }
    timed = any(board.rows["latency_ratio"].notna().any() for board in boards.values())
    figure, columns = panels(runs, rows=2 if timed else 1, height=3.2)
    styles = strategy_styles(runs["strategy"])
    for axes, group in columns:
        board = boards[group["group"].iloc[0]]
        _front(axes[0], board.rows, "parameters", "pareto_parameters", styles)
        axes[0].set_xscale("log")
        axes[0].set(xlabel="parameters of the selected network", ylabel="test Dice")
        if timed:
            _front(axes[1], board.rows, "latency_ratio", "pareto_latency", styles)
            backend = speeds(group, timings).backend
            axes[1].set(xlabel=f"latency relative to standard ({backend})", ylabel="test Dice")
            axes[1].set_visible(bool(backend))
    legend(figure, [axis for axes, _ in columns for axis in axes])
    return figure


def latency_by_backend(runs: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw latency relative to the standard network as bars, with a colour per backend."""
    if timings.empty:
        raise NothingToDrawError(
            "no latencies are recorded for these runs; measure and record them with 'stampbench latency'",
            setting="record",
        )
    backends = sorted(timings["backend"].unique())
    shown = runs[runs["run"].isin(timings["run"])]
    figure, columns = panels(shown, width=5.0)
    styles = strategy_styles(shown["strategy"])
    bars, machines = 0, set[str]()
    for (axes,), group in columns:
        group_timings = timings[timings["run"].isin(group["run"])]
        rows = [
            {"strategy": strategy, "backend": backend, "ratio": ratio}
            for backend in backends
            for strategy, ratio in speeds(group, group_timings, backend).ratios.items()
        ]
        bars += len(rows)
        if rows:
            sns.barplot(
                pd.DataFrame(rows), x="ratio", y="strategy", hue="backend", hue_order=backends, ax=axes,
                order=[name for name in styles if name in {row["strategy"] for row in rows}],
                palette=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9"][: len(backends)],
            )  # fmt: skip
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xlabel="latency relative to standard, one image", ylabel="")
        machines.update(filter(None, [speeds(group, group_timings).machine]))
    if not bars:
        raise NothingToDrawError(
            "no timing session has usable times of the standard network for one image in single precision"
        )
    figure.suptitle("; ".join(sorted(machines)), fontsize=7)
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _front(axes: Axes, rows: pd.DataFrame, x: str, mark: str, styles: dict[str, tuple[str, str]]) -> None:
    """Draw a point per strategy and the Pareto front.

    Args:
        axes: where to draw.
        rows: rows of a leaderboard.
        x: column of the cost.
        mark: column that says whether a row is on the Pareto front.
        styles: colour and marker by strategy.
    """
    for row in rows.to_dict("records"):
        cost = float(row[x])
        if math.isnan(cost):
            continue
        colour, marker = styles[row["strategy"]]
        bars = yerror([[row["dice"] - row["dice_low"]], [row["dice_high"] - row["dice"]]])
        axes.errorbar(
            [cost], [row["dice"]], bars, color=colour, marker=marker, markersize=6, elinewidth=0.8, capsize=2,
            linestyle="none", label=row["strategy"],
        )  # fmt: skip
    front = rows[rows[mark]].sort_values(x)
    axes.plot(front[x], front["dice"], color="#777777", linewidth=1, zorder=0)
