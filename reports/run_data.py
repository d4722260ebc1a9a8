"""A run as data of its web page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

_MAX_CHECKPOINTS = 40
"""Longer trajectories are thinned out to this many checkpoints, so that reports of two thousand runs stay small."""


class CaseRow(NamedTuple):
    """A test case of a run: Dice and HD95, and the median Dice that the other strategies have on it."""

    case: str
    dice: float
    hd95: float
    others: float | None


class RunDetails(NamedTuple):
    """The contents of a run's page.

    `facts` and `provenance` are shown as name and value; `command` reproduces the run; `cases` holds all test cases,
    the worst first. `strategies` holds, for the cases with pictures, the mean Dice of every strategy of the
    leaderboard. `warning` says what a reader has to know first; it may be empty. `picture` is a WebP image of the first
    cases side by side, or the reason why there is none.
    """

    run: str
    title: str
    warning: str
    facts: dict[str, str]
    command: str
    provenance: dict[str, str]
    cases: Sequence[CaseRow]
    strategies: Mapping[str, Sequence[float | None]]
    picture: bytes | str


def run_data(details: RunDetails, trajectory: pd.DataFrame | None) -> dict[str, Any]:
    """Return the numbers of a run's tables and plots, ready for JSON."""
    return _trajectory(trajectory) | {"cases": [list(case) for case in details.cases]}


def _trajectory(trajectory: pd.DataFrame | None) -> dict[str, Any]:
    """Return the points of a run's plots; the best checkpoint is always among them.

    A trajectory on which the network keeps its shape has no points to plot.
    """
    if trajectory is None or trajectory.empty:
        return {"epoch": [], "parameters": [], "dice": [], "widths": []}
    rows = trajectory.sort_values("step", ignore_index=True)
    best = int(rows["validation_dice"].to_numpy().argmax())
    widths = [list(map(int, rows["widths"].iloc[each].split())) for each in sorted({0, best})]
    if rows["parameters"].nunique() == 1:
        return {"epoch": [], "parameters": [], "dice": [], "widths": widths[:1]}
    kept = sorted({round(each * (len(rows) - 1) / (_MAX_CHECKPOINTS - 1)) for each in range(_MAX_CHECKPOINTS)} | {best})
    shown = rows.iloc[[each for each in kept if each < len(rows)]]
    return {
        "epoch": shown["epoch"].astype(int).tolist(),
        "parameters": shown["parameters"].astype(int).tolist(),
        "dice": [round(float(each), 4) for each in shown["validation_dice"]],
        "widths": widths,
    }
