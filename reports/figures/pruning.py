"""Figures of networks during pruning: Dice and filters per layer."""

from __future__ import annotations

import json
from typing import Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from stampbench.reports.figures.style import NothingToDrawError, legend, number_layers, panels, parameter_axis, wrapped
from stampbench.reports.looks import Look, looks
from stampbench.reports.speed import standard_label

_MOST_LINES = 5
"""Strategies that share a panel of `dice_along_pruning`; more of them get a panel each."""
_GRID_POINTS = 80
"""Number of parameter counts at which the trajectories of different runs are compared."""


Score = Literal["validation", "test"]
"""Dice on validation images, or on test images; the latter only of runs made with `trajectory_test`."""


def dice_along_pruning(
    runs: pd.DataFrame, trajectories: pd.DataFrame, score: Score = "validation", **_: pd.DataFrame
) -> Figure:
    """Draw Dice against remaining parameters (like Dinsdale et al. 2022, Fig. 5, 10 and 11).

    Lines are medians over runs and bands are quartiles; the dashed line is the median of the standard network.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        trajectories: a row per checkpoint with `run`, `step`, `parameters` and Dice.
        score: which Dice is drawn.
        **_: other tables of the records, which are not used.

    Raises:
        NothingToDrawError: when no run prunes, or none has this score.
    """
    trajectories = with_dice(trajectories, score)
    pruned = _pruned(runs, trajectories)
    shown = runs[runs["run"].isin(pruned) | (runs["strategy"] == standard_label(runs))]
    shown = shown[shown["group"].isin(runs.loc[runs["run"].isin(pruned), "group"])]
    most = shown[shown["run"].isin(pruned)].groupby("group")["strategy"].nunique().max() if len(shown) else 0
    if most > _MOST_LINES:
        return _small_multiples(shown, pruned, trajectories, score)
    figure, columns = panels(shown)
    styles = looks(shown["strategy"])
    for (axes,), group in columns:
        for strategy, strategy_runs in group[group["run"].isin(pruned)].groupby("strategy"):
            _draw_median(axes, strategy_runs, trajectories, styles[str(strategy)], str(strategy))
        _finish_pruning(axes, group, score)
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _small_multiples(runs: pd.DataFrame, pruned: set[str], trajectories: pd.DataFrame, score: Score) -> Figure:
    """Draw a panel for each strategy, in which the other strategies of its leaderboard are grey lines.

    Args:
        runs: rows of `runs`; those that prune and those of the standard network.
        pruned: ids of runs that prune.
        trajectories: a row per checkpoint, with `dice`.
        score: which Dice is drawn.
    """
    by = ["dataset", "n_train", "protocol", "group", "strategy"]
    figure, columns = panels(runs[runs["run"].isin(pruned)], by, width=3.0, height=2.6, most=24, share=True)
    styles = looks(runs["strategy"])
    for (axes,), own in columns:
        group = runs[runs["group"] == own["group"].iloc[0]]
        strategy = str(own["strategy"].iloc[0])
        for other, others in group[group["run"].isin(pruned)].groupby("strategy"):
            if other != strategy:
                grid, values = _dice_on_grid(trajectories[trajectories["run"].isin(others["run"])])
                axes.plot(grid, np.nanmedian(values, axis=0), color="#D0D0D0", linewidth=0.8, zorder=0)
        _draw_median(axes, own, trajectories, styles[strategy], "_")
        _finish_pruning(axes, group, score)
        name = wrapped(f"{strategy}, {len(own)} runs")
        axes.set_title(f"{name}\n{own['dataset'].iloc[0]}, {own['n_train'].iloc[0]} images", fontsize=8)
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _draw_median(axes: Axes, runs: pd.DataFrame, trajectories: pd.DataFrame, look: Look, label: str) -> None:
    """Draw the median over runs with quartiles.

    Args:
        axes: where to draw.
        runs: rows of `runs` of one strategy.
        trajectories: a row per checkpoint, with `dice`.
        look: the strategy's look.
        label: label of the line; `_` leaves it out of the legend.
    """
    grid, values = _dice_on_grid(trajectories[trajectories["run"].isin(runs["run"])])
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
    axes.plot(grid, middle, color=look.colour, marker=look.marker, markevery=8, markersize=4, label=label)
    axes.fill_between(grid, low, high, color=look.colour, alpha=0.2, linewidth=0)


def _finish_pruning(axes: Axes, group: pd.DataFrame, score: Score) -> None:
    """Draw the standard network's median and the axes of a panel of `dice_along_pruning`."""
    standard = group[group["strategy"] == standard_label(group)]
    if len(standard):
        axes.axhline(standard[f"{score}_dice"].median(), color="black", linestyle="--", linewidth=1, label="standard")
    parameter_axis(axes)
    if not axes.xaxis_inverted():
        axes.invert_xaxis()
    axes.set(xlabel="remaining parameters", ylabel=f"{score} Dice (median, quartiles)")


def filters_along_pruning(runs: pd.DataFrame, trajectories: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw the fraction of remaining filters by layer and step, mean over runs (like Dinsdale et al. 2022, Fig. 7)."""
    runs = runs[runs["run"].isin(_pruned(runs, trajectories))]
    figure, columns = panels(runs, ["dataset", "n_train", "protocol", "group", "strategy"], height=3.8)
    for number, ((axes,), group) in enumerate(columns):
        tables = [_widths(trajectories[trajectories["run"] == run]) for run in group["run"]]
        steps = max(len(each) for each in tables)
        padding = [((0, steps - len(each)), (0, 0)) for each in tables]
        fractions = [
            np.pad(each / each[0], pad, constant_values=np.nan) for each, pad in zip(tables, padding, strict=True)
        ]
        fraction = np.nanmean(fractions, axis=0)
        last = number == len(columns) - 1
        sns.heatmap(
            fraction.T, vmin=0, vmax=1, cmap="cividis", ax=axes, cbar=last,
            cbar_kws={"label": "fraction of remaining filters"} if last else None,
            xticklabels=_step_labels(steps), yticklabels=_layer_labels(fraction.shape[1]),
        )  # fmt: skip
        axes.set(xlabel="pruning step", ylabel="layer (convolution, counted from the input)" if number == 0 else "")
        axes.set_title(f"{axes.get_title()}\n{group['strategy'].iloc[0]}, {len(group)} runs")
        axes.tick_params(rotation=0)
    return figure


def filters_per_layer(
    runs: pd.DataFrame, trajectories: pd.DataFrame, parameters: int | None = None, **_: pd.DataFrame
) -> Figure:
    """Draw filters per layer at the start and at a chosen size, mean over runs (like Dinsdale et al. 2022, Fig. 14).

    Args:
        runs: rows of `runs` as for `leaderboards`, with `selected_step`.
        trajectories: a row per checkpoint with `run`, `step`, `parameters` and `widths`.
        parameters: show each run's first network with at most this many parameters; None shows the selected network.
        **_: other tables of the records, which are not used.

    Raises:
        NothingToDrawError: when no run prunes, when a run has no network that is small enough, or when runs of a
            strategy have networks of different depth.
    """
    runs = runs[runs["run"].isin(_pruned(runs, trajectories))]
    figure, columns = panels(runs, width=5.0)
    styles = looks(runs["strategy"])
    for (axes,), group in columns:
        # A dictionary instead of a set keeps the order of the strategies.
        starts: dict[tuple[int, ...], None] = {}
        for strategy, strategy_runs in group.groupby("strategy"):
            shown = []
            for run, step in zip(strategy_runs["run"], strategy_runs["selected_step"], strict=True):
                rows = trajectories[trajectories["run"] == run].sort_values("step")
                widths = _widths(rows)
                starts[tuple(widths[0].astype(int))] = None
                steps = np.flatnonzero(rows["parameters"] <= parameters) if parameters is not None else [int(step)]
                if len(steps) == 0:
                    raise NothingToDrawError(
                        f"run {run} of {strategy}: no network has at most {parameters:,} parameters",
                        setting="parameters",
                    )
                shown.append(widths[steps[0]])
            if len({len(each) for each in shown}) > 1:
                raise NothingToDrawError(f"strategy {strategy}: its runs have networks of different depth")
            mean = np.mean(shown, axis=0)
            look = styles[str(strategy)]
            label = f"{strategy}, {'selected' if parameters is None else f'{parameters:,} parameters'}"
            axes.plot(
                np.arange(1, len(mean) + 1), mean, color=look.colour, marker=look.marker, markersize=4, label=label
            )  # fmt: skip
        for number, start in enumerate(starts):
            style = ("--", ":", "-.")[number % 3]
            axes.step(np.arange(1, len(start) + 1), start, where="mid", color="#777777", linestyle=style,
                      label=f"start, {start[0]} filters in layer 1")  # fmt: skip
        number_layers(axes, max(map(len, starts)))
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        _mark_parts(axes, group, max(map(len, starts)))
        axes.set(xlabel="layer (convolution, counted from the input)", ylabel="filters")
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _mark_parts(axes: Axes, runs: pd.DataFrame, layers: int) -> None:
    """Shade the bottleneck and name encoder, bottleneck and decoder, if the runs agree in depth."""
    shapes = {(each.get("depth"), each.get("convs_per_level")) for each in map(json.loads, runs["hyperparameters"])}
    depth, convs = shapes.pop() if len(shapes) == 1 else (None, None)
    if not depth or not convs or (2 * depth + 1) * convs != layers:
        return
    edges = (0.5, depth * convs + 0.5, (depth + 1) * convs + 0.5, layers + 0.5)
    axes.axvspan(edges[1], edges[2], color="#F0F0F0", zorder=0)
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for name, low, high in zip(("encoder", "bottleneck", "decoder"), edges[:-1], edges[1:], strict=True):
        axes.text((low + high) / 2, 0.985, name, transform=above, ha="center", va="top", fontsize=7, color="#555555")


def with_dice(trajectories: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Return the rows that have a score, which becomes the column `dice`.

    Raises:
        NothingToDrawError: when there are rows, but none has this score.
    """
    name = f"{score}_dice"
    rows = trajectories[trajectories[name].notna()] if name in trajectories else trajectories.iloc[:0]
    if rows.empty and len(trajectories):
        raise NothingToDrawError(f"no run has a {score} Dice for every checkpoint; trajectory_test records it")
    return rows.assign(dice=rows[name] if len(rows) else 0.0)


def _pruned(runs: pd.DataFrame, trajectories: pd.DataFrame) -> set[str]:
    """Return the ids of the runs in which the number of parameters changes, `retrain_scratch` excluded."""
    if trajectories.empty:
        return set()
    rows = trajectories[trajectories["run"].isin(runs.loc[runs["name"] != "retrain_scratch", "run"])]
    sizes = rows.groupby("run")["parameters"].nunique()
    return {str(run) for run in sizes[sizes > 1].index}


def _dice_on_grid(trajectories: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sample the Dice of every run at common parameter counts.

    The value at a grid point is that of the last network with at least as many parameters; it is NaN where the run has
    no network of that size.

    Returns:
        Parameter counts in descending order `(points,)`, and Dice `(runs, points)`.
    """
    low, high = trajectories["parameters"].min(), trajectories["parameters"].max()
    grid = np.geomspace(high, low, _GRID_POINTS)
    grid[0], grid[-1] = high, low
    values = []
    for _, rows in trajectories.groupby("run"):
        ordered = rows.sort_values("step")
        sizes = ordered["parameters"].to_numpy(dtype=float)
        scores = ordered["dice"].to_numpy(dtype=float)
        last = np.searchsorted(-sizes, -grid, side="right") - 1
        values.append(np.where((last >= 0) & (grid >= sizes[-1]), scores[last.clip(min=0)], np.nan))
    return grid, np.array(values)


def _widths(trajectory: pd.DataFrame) -> NDArray[np.float64]:
    """Return the filters of every layer at every step, shape `(steps, layers)`."""
    return np.array([list(map(int, each.split())) for each in trajectory.sort_values("step")["widths"]], dtype=float)


def _step_labels(steps: int) -> list[str]:
    """Label about eight of the steps."""
    stride = max(1, steps // 8)
    return [str(step) if step % stride == 0 else "" for step in range(steps)]


def _layer_labels(layers: int) -> list[str]:
    """Label every second layer, counted from 1."""
    return [str(layer) if layer % 2 == 1 else "" for layer in range(1, layers + 1)]
