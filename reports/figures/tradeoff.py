"""Figures of test Dice against parameters and latency, and of latency by backend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stampbench.reports.figures.scores import yerror
from stampbench.reports.figures.style import NothingToDrawError, legend, panels, parameter_axis, wrapped
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.looks import GREYS, Look, looks
from stampbench.reports.speed import Speed, selected_networks, speeds


def pareto(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw test Dice against parameters and, if it was measured, latency; lines are the Pareto fronts.

    Error bars are 95 % confidence intervals: of Dice over runs and subjects, see `leaderboards`; of latency over rounds
    of timing.

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
    styles = looks(runs["strategy"])
    for axes, group in columns:
        board = boards[group["group"].iloc[0]]
        _front(axes[0], board.rows, "parameters", "pareto_parameters", styles, {})
        parameter_axis(axes[0])
        axes[0].set(xlabel="parameters of the selected network", ylabel="test Dice")
        if timed:
            speed = speeds(group, timings)
            _front(axes[1], board.rows, "latency_ratio", "pareto_latency", styles, speed.intervals)
            axes[1].set(xlabel=f"latency relative to standard ({speed.backend})", ylabel="test Dice")
            axes[1].set_visible(bool(speed.backend))
    legend(figure, [axis for axes, _ in columns for axis in axes])
    return figure


def latency_by_backend(runs: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw latency relative to the standard network as bars, with a grey per backend."""
    if timings.empty:
        raise NothingToDrawError(
            "no latencies are recorded for these runs; measure and record them with 'stampbench latency'",
            setting="record",
        )
    timings = selected_networks(timings)
    backends = sorted(timings["backend"].unique())
    shown = runs[runs["run"].isin(timings["run"])]
    most = int(shown.groupby("group")["strategy"].nunique().max()) if len(shown) else 0
    figure, columns = panels(shown, width=6.0, height=1.4 + 0.34 * most)
    machines, bars = set[str](), 0
    styles = looks(shown["strategy"])
    for (axes,), group in columns:
        own = timings[timings["run"].isin(group["run"])]
        found = {backend: speeds(group, own, backend) for backend in backends}
        names = [name for name in styles if any(name in speed.ratios for speed in found.values())]
        bars += len(names)
        for number, (backend, speed) in enumerate(found.items()):
            _draw_bars(axes, speed, names, backend, (number, len(backends)))
        axes.set_yticks(range(len(names)), [wrapped(name) for name in names])
        axes.invert_yaxis()
        axes.axvline(1, color="black", linewidth=1)
        axes.set(xlabel="latency relative to standard, one image (95 % interval over rounds)", ylabel="")
        machines.update(filter(None, [speeds(group, own).machine]))
    if not bars:
        raise NothingToDrawError(
            "no timing session has usable times of the standard network for one image in single precision"
        )
    figure.suptitle("; ".join(sorted(machines)), fontsize=7)
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _draw_bars(axes: Axes, speed: Speed, names: Sequence[str], backend: str, place: tuple[int, int]) -> None:
    """Draw the bars of a backend beside those of the others; greys and hatches, because backends are no strategies.

    Args:
        axes: where to draw.
        speed: the ratios of the backend.
        names: strategies from top to bottom.
        backend: name of the backend.
        place: number of the backend, and how many there are.
    """
    number, all_backends = place
    height = 0.8 / all_backends
    known = [name for name in names if name in speed.ratios]
    at = [names.index(name) - 0.4 + height * (number + 0.5) for name in known]
    ratios = [speed.ratios[name] for name in known]
    bounds = np.array([speed.intervals.get(name, (math.nan, math.nan)) for name in known]).reshape(-1, 2)
    lengths = np.nan_to_num(np.abs(bounds - np.array(ratios)[:, None])).T
    axes.barh(
        at, ratios, height, xerr=lengths if lengths.any() else None, label=backend, color=GREYS[number % len(GREYS)],
        hatch="///" if number > 2 else None, edgecolor="white", linewidth=0.5,
        error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "#B05204"},
    )  # fmt: skip


def latency_vs_parameters(runs: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw latency relative to the standard network against parameters, a point per strategy.

    Error bars are 95 % confidence intervals, see `Speed`; the backend is in the title of the axis. Parameters are the
    mean over the timed runs.

    Raises:
        NothingToDrawError: when no latencies are recorded.
    """
    if timings.empty:
        raise NothingToDrawError(
            "no latencies are recorded for these runs; measure and record them with 'stampbench latency'",
            setting="record",
        )
    figure, columns = panels(runs[runs["run"].isin(timings["run"])])
    styles, drawn = looks(runs["strategy"]), 0
    for (axes,), group in columns:
        speed = speeds(group, timings[timings["run"].isin(group["run"])])
        sizes = group.groupby("strategy")["parameters"].mean()
        drawn += len(speed.ratios)
        for name in (name for name in styles if name in speed.ratios):
            low, high = speed.intervals.get(name, (math.nan, math.nan))
            ratio = speed.ratios[name]
            axes.errorbar(
                [sizes[name]], [ratio], yerror([[ratio - low], [high - ratio]]), color=styles[name].colour,
                marker=styles[name].marker, markersize=6, elinewidth=0.8, capsize=2, linestyle="none", label=name,
            )  # fmt: skip
        axes.axhline(1, color="black", linewidth=0.8)
        parameter_axis(axes)
        axes.set(xlabel="parameters of the selected network", ylabel=f"latency relative to standard ({speed.backend})")
    if not drawn:
        raise NothingToDrawError(
            "no timing session has usable times of the standard network for one image in single precision"
        )
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _front(
    axes: Axes, rows: pd.DataFrame, x: str, mark: str, styles: Mapping[str, Look],
    intervals: Mapping[str, tuple[float, float]],
) -> None:  # fmt: skip
    """Draw a point per strategy and the Pareto front.

    Args:
        axes: where to draw.
        rows: rows of a leaderboard.
        x: column of the cost.
        mark: column that says whether a row is on the Pareto front.
        styles: look by strategy.
        intervals: interval of the cost by strategy; strategies may be missing.
    """
    for row in rows.to_dict("records"):
        cost = float(row[x])
        if math.isnan(cost):
            continue
        look = styles[row["strategy"]]
        bars = yerror([[row["dice"] - row["dice_low"]], [row["dice_high"] - row["dice"]]])
        low, high = intervals.get(row["strategy"], (math.nan, math.nan))
        beside = yerror([[cost - low], [high - cost]])
        axes.errorbar(
            [cost], [row["dice"]], bars, beside, color=look.colour, marker=look.marker, markersize=6, elinewidth=0.8,
            capsize=2, linestyle="none", label=row["strategy"],
        )  # fmt: skip
    front = rows[rows[mark]].sort_values(x)
    axes.step(front[x], front["dice"], where="post", color="#777777", linewidth=1, zorder=0)
