"""Figures of what happens while networks are pruned."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stampbench.reports.figures.style import NothingToDrawError, legend, looks, number_layers, panels
from stampbench.reports.palette import COLOURS
from stampbench.reports.speed import standard_label

_GRID = 80
"""Numbers of parameters at which trajectories of different runs are compared."""


def dice_along_pruning(runs: pd.DataFrame, trajectories: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Validation Dice against parameters that remain: median and quartiles over runs (Dinsdale et al. 2022, Fig. 5).

    The dashed line is the standard network's median. Validation, since only selected networks are tested.
    """
    pruned = _pruned(runs, trajectories)
    shown = runs[runs["run"].isin(pruned) | (runs["strategy"] == standard_label(runs))]
    figure, columns = panels(shown[shown["group"].isin(runs.loc[runs["run"].isin(pruned), "group"])])
    styles = looks(shown["strategy"])
    for (axes,), group in columns:
        for strategy, own in group[group["run"].isin(pruned)].groupby("strategy"):
            grid, values = _on_a_grid(trajectories[trajectories["run"].isin(own["run"])])
            low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=0)
            colour, marker = styles[str(strategy)]
            axes.plot(grid, middle, color=colour, marker=marker, markevery=8, markersize=4, label=str(strategy))
            axes.fill_between(grid, low, high, color=colour, alpha=0.2, linewidth=0)
        standard = group[group["strategy"] == standard_label(group)]
        if len(standard):
            axes.axhline(
                standard["validation_dice"].median(), color="black", linestyle="--", linewidth=1, label="standard"
            )  # fmt: skip
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.set(xlabel="parameters that remain", ylabel="validation Dice (median, quartiles)")
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def filters_along_pruning(runs: pd.DataFrame, trajectories: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """The share of filters that remains, layer by step, averaged over runs (Dinsdale et al. 2022, Fig. 7)."""
    runs = runs[runs["run"].isin(_pruned(runs, trajectories))]
    figure, columns = panels(runs, ["dataset", "n_train", "protocol", "group", "strategy"], height=3.8)
    for number, ((axes,), group) in enumerate(columns):
        tables = [_widths(trajectories[trajectories["run"] == run]) for run in group["run"]]
        steps = max(len(each) for each in tables)
        padding = [((0, steps - len(each)), (0, 0)) for each in tables]
        shares = [
            np.pad(each / each[0], pad, constant_values=np.nan) for each, pad in zip(tables, padding, strict=True)
        ]
        share = np.nanmean(shares, axis=0)
        last = number == len(columns) - 1
        sns.heatmap(
            share.T, vmin=0, vmax=1, cmap="cividis", ax=axes, cbar=last,
            cbar_kws={"label": "share of filters that remains"} if last else None,
            xticklabels=_every(steps), yticklabels=_from_one(share.shape[1]),
        )  # fmt: skip
        axes.set(xlabel="pruning step", ylabel="layer (convolution, from the input)" if number == 0 else "")
        axes.set_title(f"{axes.get_title()}\n{group['strategy'].iloc[0]}, {len(group)} runs")
        axes.tick_params(rotation=0)
    return figure


def filters_per_layer(
    runs: pd.DataFrame, trajectories: pd.DataFrame, parameters: int | None = None, **_: pd.DataFrame
) -> Figure:
    """Filters per layer at the start and at a chosen size, mean over runs (Dinsdale et al. 2022, Fig. 14).

    Args:
        parameters: the first network with at most so many; None: the selected one.
    """
    runs = runs[runs["run"].isin(_pruned(runs, trajectories))]
    figure, columns = panels(runs, width=5.0)
    styles = looks(runs["strategy"])
    for (axes,), group in columns:
        starts: dict[tuple[int, ...], None] = {}
        for strategy, own in group.groupby("strategy"):
            selected = []
            for run, step in zip(own["run"], own["selected_step"], strict=True):
                rows = trajectories[trajectories["run"] == run].sort_values("step")
                widths = _widths(rows)
                starts[tuple(widths[0].astype(int))] = None
                small = np.flatnonzero(rows["parameters"] <= parameters) if parameters is not None else [int(step)]
                if len(small) == 0:
                    raise NothingToDrawError(f"no network of {strategy} has {parameters} parameters or fewer")
                selected.append(widths[small[0]])
            if len({len(each) for each in selected}) > 1:
                raise NothingToDrawError(f"runs of {strategy} have networks of different depth")
            mean = np.mean(selected, axis=0)
            colour, marker = styles[str(strategy)]
            label = f"{strategy}, {'selected' if parameters is None else f'{parameters:,} parameters'}"
            axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, marker=marker, markersize=4, label=label)
        for number, start in enumerate(starts):
            style = ("--", ":", "-.")[number % 3]
            axes.step(np.arange(1, len(start) + 1), start, where="mid", color="#777777", linestyle=style,
                      label=f"start, {start[0]} filters first")  # fmt: skip
        number_layers(axes, max(map(len, starts)))
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="layer (convolution, from the input)", ylabel="filters")
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def retrained_against_pruned(runs: pd.DataFrame, trajectories: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """The shapes of a pruning, trained from scratch, beside the pruned networks (Dinsdale et al. 2022, Fig. 15).

    Validation Dice against parameters; a thin line joins a shape's two networks of one run.
    """
    again = runs[(runs["name"] == "retrain_scratch") & runs["parents"].isin(runs["run"])]
    if again.empty:
        raise NothingToDrawError("no run of retrain_scratch stands beside the run whose shapes it took")
    figure, columns = panels(again)
    for (axes,), group in columns:
        pairs = pd.concat([_pairs(*each, trajectories) for each in zip(group["run"], group["parents"], strict=True)])
        axes.vlines(pairs["parameters"], pairs["pruned"], pairs["retrained"], color="#BBBBBB", linewidth=0.7, zorder=1)
        axes.plot(pairs["parameters"], pairs["pruned"], "o", color=COLOURS[0], label="pruned, with its weights")
        axes.plot(pairs["parameters"], pairs["retrained"], "s", color=COLOURS[1], label="the same shape from scratch")
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.set(xlabel="parameters", ylabel="validation Dice")
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _pruned(runs: pd.DataFrame, trajectories: pd.DataFrame) -> set[str]:
    """The runs whose networks become smaller on the way."""
    if trajectories.empty:
        return set()
    own = trajectories[trajectories["run"].isin(runs.loc[runs["name"] != "retrain_scratch", "run"])]
    found = own.groupby("run")["parameters"].nunique()
    return {str(run) for run in found[found > 1].index}


def _on_a_grid(trajectories: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At common numbers of parameters the validation Dice of the smallest network with as many, NaN outside."""
    low, high = trajectories["parameters"].min(), trajectories["parameters"].max()
    grid = np.geomspace(high, low, _GRID)
    grid[0], grid[-1] = high, low
    values = []
    for _, own in trajectories.groupby("run"):
        ordered = own.sort_values("step")
        sizes = ordered["parameters"].to_numpy(dtype=float)
        scores = ordered["validation_dice"].to_numpy(dtype=float)
        last = np.searchsorted(-sizes, -grid, side="right") - 1
        values.append(np.where((last >= 0) & (grid >= sizes[-1]), scores[last.clip(min=0)], np.nan))
    return grid, np.array(values)


def _widths(trajectory: pd.DataFrame) -> NDArray[np.float64]:
    """Filters `(steps, layers)`."""
    return np.array([list(map(int, each.split())) for each in trajectory.sort_values("step")["widths"]], dtype=float)


def _pairs(run: str, source: str, trajectories: pd.DataFrame) -> pd.DataFrame:
    retrained, pruned = (trajectories[trajectories["run"] == each] for each in (run, source))
    both = retrained.merge(pruned, on="widths", suffixes=("_retrained", "_pruned"))
    return pd.DataFrame(
        {
            "parameters": both["parameters_pruned"],
            "pruned": both["validation_dice_pruned"],
            "retrained": both["validation_dice_retrained"],
        }
    )


def _every(steps: int) -> list[str]:
    stride = max(1, steps // 8)
    return [str(step) if step % stride == 0 else "" for step in range(steps)]


def _from_one(layers: int) -> list[str]:
    return [str(layer) if layer % 2 == 1 else "" for layer in range(1, layers + 1)]
