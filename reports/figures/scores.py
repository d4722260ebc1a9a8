"""Figures of test Dice by training size, by hyperparameter and by training epochs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stampbench.reports.figures.box_plot import draw_boxes
from stampbench.reports.figures.style import (
    NothingToDrawError,
    base_protocol,
    hatch,
    legend,
    panels,
    without_setting,
)  # fmt: skip
from stampbench.reports.looks import Look, looks
from stampbench.reports.statistics import cluster_interval


def dice_by_training_size(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw box plots of Dice over test cases, by number of training images (like Dinsdale et al. 2022, Fig. 4 and 6).

    Boxes show the quartiles, whiskers extend to 1.5 times the interquartile range, and the diamond is the mean.
    """
    # A group has a single training size, so panels are formed by everything else that defines a group.
    by = ["dataset", "dataset_version", "data_checksum", "form", "protocol"]
    styles = looks(runs["strategy"])
    figure, columns = panels(runs, by, width=max(4.2, 0.5 * len(styles) * runs["n_train"].nunique() ** 0.5))
    for (axes,), group in columns:
        scores = per_case(group, cases)
        order = sorted(group["n_train"].unique())
        draw_boxes(axes, scores, styles, x="n_train", y="dice", order=order)
        _hatch_boxes(axes, styles, set(scores["strategy"]))
        axes.set(xlabel="training images", ylabel="test Dice (per case)")
        axes.set_xticks(range(len(order)), [f"{size}\n{_counts(group, size)}" for size in order])
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _counts(runs: pd.DataFrame, size: int) -> str:
    """Return how many runs a strategy has with a training size, such as "n = 2 to 4"."""
    counts = runs[runs["n_train"] == size].groupby("strategy").size()
    low, high = counts.min(), counts.max()
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _hatch_boxes(axes: Axes, styles: Mapping[str, Look], drawn: Collection[str]) -> None:
    """Hatch the boxes of variants, in the legend too: a family has one colour, and boxes have no markers."""
    handles: tuple[list[Any], list[str]] = axes.get_legend_handles_labels()  # type: ignore[assignment]
    containers: list[Any] = list(axes.containers)  # created by seaborn, one per strategy
    for name, container in zip([name for name in styles if name in drawn], containers, strict=True):
        for box in container.boxes:
            hatch(box, styles[name])
    for handle, name in zip(*handles, strict=True):
        hatch(handle, styles[name])


def recovery_epochs(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw test Dice by number of epochs between two pruning steps (like Dinsdale et al. 2022, Fig. 16)."""
    return _by_hyperparameter(runs, cases, "recovery_epochs", "recovery epochs R")


def base_dropout(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw test Dice by the largest probability of targeted dropout (like Dinsdale et al. 2022, Fig. 17)."""
    return _by_hyperparameter(runs, cases, "base_dropout", "base dropout b")


def dice_by_epochs(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw mean test Dice against the epochs charged, and against the training epochs of the selected network.

    A point is a strategy with one cap of epochs; error bars are 95 % confidence intervals over subjects. A line joins
    the variants of a strategy that differ only in the cap or in recovery epochs. Protocols share a panel only if they
    differ in nothing but the cap. If any panel has a line, panels without lines are left out.
    """
    panel = ["dataset", "dataset_version", "data_checksum", "form", "n_train", "base"]
    runs = runs.assign(
        base=runs["protocol"].map(base_protocol),
        line=runs["strategy"].map(lambda label: without_setting(label, "recovery_epochs")),
    )
    variants = (runs["strategy"] + runs["protocol"]).groupby([runs[each] for each in [*panel, "line"]])
    lined = (variants.transform("nunique") > 1).groupby([runs[each] for each in panel]).transform("any")
    runs = runs[lined] if lined.any() else runs
    figure, columns = panels(runs, panel, rows=2, height=3.0)
    styles = looks(runs["line"])
    for axes, group in columns:
        for name, line_runs in group.groupby("line"):
            points = pd.DataFrame([_point(part, cases) for _, part in line_runs.groupby(["strategy", "protocol"])])
            look = styles[str(name)]
            for axis, x in zip(axes, ("epochs", "selected_epoch"), strict=True):
                ordered = points.sort_values(x)
                error = [ordered["dice"] - ordered["low"], ordered["high"] - ordered["dice"]]
                axis.errorbar(
                    ordered[x], ordered["dice"], yerror(error), color=look.colour, marker=look.marker, markersize=5,
                    capsize=2, linewidth=1.2, label=str(name),
                )  # fmt: skip
        axes[0].set(xlabel="epochs charged (parent runs included)", ylabel="test Dice")
        axes[1].set(xlabel="training epochs of the selected network", ylabel="test Dice")
    legend(figure, [axis for axes, _ in columns for axis in axes])
    return figure


def per_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return Dice by strategy, training size and case: averaged over classes, then over folds and seeds.

    The columns are `strategy`, `n_train`, `subject`, `case` and `dice`.
    """
    scores = cases.merge(runs[["run", "strategy", "n_train"]], on="run")
    by_run = scores.groupby(["strategy", "n_train", "run", "subject", "case"], as_index=False)["dice"].mean()
    averaged: pd.DataFrame = by_run.groupby(["strategy", "n_train", "subject", "case"], as_index=False)["dice"].mean()
    return averaged


def yerror(bounds: Sequence[Sequence[float] | pd.Series[float]]) -> NDArray[np.float64] | None:
    """Return the lengths of error bars below and above the points; None if an interval is missing.

    An interval is missing if there is only one subject.
    """
    lengths: NDArray[np.float64] = np.array([np.asarray(each, dtype=float) for each in bounds])
    return None if np.isnan(lengths).any() else lengths.clip(min=0)


def _point(runs: pd.DataFrame, cases: pd.DataFrame) -> dict[str, float]:
    """Return the mean Dice of runs with its confidence interval over subjects, and their mean epochs."""
    scores = per_case(runs, cases)
    interval = cluster_interval(scores["dice"].to_list(), scores["subject"].to_list())
    return {
        "epochs": float(runs["epochs"].mean()),
        "selected_epoch": float(runs["selected_epoch"].mean()),
        "dice": interval.mean,
        "low": interval.low,
        "high": interval.high,
    }


def _by_hyperparameter(runs: pd.DataFrame, cases: pd.DataFrame, name: str, label: str) -> Figure:
    """Draw mean Dice with intervals over subjects, and single runs as dots, by the value of a hyperparameter.

    Only strategies that were run with several values and otherwise equal hyperparameters are drawn.

    Args:
        runs: rows of `runs` as for `leaderboards`, with `hyperparameters` as JSON.
        cases: rows of `cases` as for `leaderboards`.
        name: name of the hyperparameter.
        label: label of the horizontal axis.

    Raises:
        NothingToDrawError: when no leaderboard has a strategy with several values.
    """
    hyperparameters = [json.loads(each) for each in runs["hyperparameters"]]
    runs = runs.assign(value=[each.get(name) for each in hyperparameters])
    runs = runs.assign(line=runs["strategy"].map(lambda each: without_setting(each, name)))
    # The base dropout b has no effect unless dropout is targeted.
    without_effect = [name == "base_dropout" and each.get("dropout") != "targeted" for each in hyperparameters]
    runs = runs[runs["value"].notna() & ~pd.Series(without_effect, index=runs.index)]
    several = runs.groupby(["group", "line"])["value"].transform("nunique") > 1 if len(runs) else runs.index
    runs = runs[several] if len(runs) else runs
    if runs.empty:
        raise NothingToDrawError(f"no leaderboard has a strategy with several values of {name}")
    figure, columns = panels(runs)
    styles = looks(runs["line"])
    for (axes,), group in columns:
        positions = {value: index for index, value in enumerate(sorted(group["value"].unique()))}
        lines = list(group.groupby("line"))
        for number, (line, line_runs) in enumerate(lines):
            beside = 0.16 * (number - (len(lines) - 1) / 2)  # so that intervals do not hide each other
            look = styles[str(line)]
            points = {value: _point(part, cases) for value, part in line_runs.groupby("value")}
            at = [positions[value] + beside for value in points]
            table = pd.DataFrame(list(points.values()))
            bars = yerror([table["dice"] - table["low"], table["high"] - table["dice"]])
            axes.errorbar(at, table["dice"], bars, color=look.colour, marker=look.marker, capsize=3, label=str(line))
            dots = [positions[value] + beside + 0.05 for value in line_runs["value"]]
            axes.plot(dots, line_runs["test_dice"], ".", color=look.colour, alpha=0.5)
            for x, y, (value, own) in zip(
                at, table["high"].fillna(table["dice"]), line_runs.groupby("value"), strict=True
            ):
                assert value in points
                axes.annotate(f"n = {len(own)}", (x, y), (0, 3), textcoords="offset points", ha="center", fontsize=6.5)
        axes.set_xticks(list(positions.values()), [f"{value:g}" for value in positions])
        axes.set(xlabel=label, ylabel="test Dice (mean, 95 % interval; dots: runs)")
        axes.margins(x=0.15)
    legend(figure, [axes for (axes,), _ in columns])
    return figure
