"""Figure of training and validation loss by epoch."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stampbench.reports.figures.style import NothingToDrawError, legend, panels
from stampbench.reports.looks import looks


def losses(runs: pd.DataFrame, epochs: pd.DataFrame) -> Figure:
    """Draw the training loss of every run by epoch, above the validation loss where it was computed.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        epochs: a row per run and epoch with `run`, `epoch`, `training_loss` and `validation_loss`.

    Raises:
        NothingToDrawError: when no run has losses.
    """
    if epochs.empty:
        raise NothingToDrawError("no run has the table epochs.csv, which older runs lack")
    runs = runs[runs["run"].isin(epochs["run"])]
    figure, columns = panels(runs, rows=2, height=2.8)
    styles = looks(runs["strategy"])
    for axes, group in columns:
        for run, strategy in zip(group["run"], group["strategy"], strict=True):
            own = epochs[epochs["run"] == run]
            look = styles[strategy]
            for axis, name in zip(axes, ("training_loss", "validation_loss"), strict=True):
                measured = own[own[name].notna()]
                axis.plot(measured["epoch"], measured[name], color=look.colour, linewidth=0.9, label=strategy)
        axes[0].set(ylabel="training loss")
        axes[1].set(xlabel="epochs charged", ylabel="validation loss")
    legend(figure, [axis for axes, _ in columns for axis in axes])
    return figure
