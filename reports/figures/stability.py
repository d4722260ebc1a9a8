"""Figure of how stable the order of a leaderboard is."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stampbench.reports.figures.style import NothingToDrawError, panels, wrapped
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.looks import looks
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.overall import common_scores, rank_shares
from stampbench.reports.statistics import Floats

_SMALLEST = 0.01
"""Shares below this one are not drawn."""


def stability(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw how often each strategy takes each rank when runs and subjects are drawn again (bootstrap).

    The area of a circle is the share of resamples. Strategies are those with enough runs; only runs that all of them
    have are drawn.

    Raises:
        NothingToDrawError: when no leaderboard has two strategies with enough common runs.
    """
    shares: dict[str, tuple[Floats, list[str], int]] = {}
    for group, own in runs.groupby("group"):
        (board,) = leaderboards(own, cases[cases["run"].isin(own["run"])])
        enough = [name for name in board.rows["strategy"] if len(board.scores[name]) >= MIN_READERS]
        tables = common_scores(board, enough) if len(enough) > 1 else []
        if tables and len(tables[0]) >= MIN_READERS and tables[0].shape[1] > 1:
            shares[str(group)] = (rank_shares(tables), enough, len(tables[0]))
    if not shares:
        raise NothingToDrawError(f"no leaderboard has two strategies with {MIN_READERS} common runs")
    largest = max(len(names) for _, names, _ in shares.values())
    shown = runs[runs["group"].isin(shares)]
    figure, columns = panels(shown, width=max(4.6, 2.6 + 0.34 * largest), height=1.4 + 0.34 * largest)
    styles = looks(runs["strategy"])
    for (axes,), shown_runs in columns:
        table, names, common = shares[str(shown_runs["group"].iloc[0])]
        order = np.argsort(table @ np.arange(1, len(names) + 1), kind="stable")
        for row, index in enumerate(order):
            ranks = np.flatnonzero(table[index] >= _SMALLEST)
            axes.scatter(ranks + 1, [row] * len(ranks), 260 * table[index][ranks], color=styles[names[index]].colour)
        axes.set_yticks(range(len(names)), [wrapped(names[index]) for index in order])
        axes.set_xticks(range(1, len(names) + 1))
        axes.set(xlabel=f"rank in resamples ({common} runs, subjects)", ylabel="")
        axes.set_xlim(0.4, len(names) + 0.6)
        axes.set_ylim(len(names) - 0.4, -0.6)
    return figure
