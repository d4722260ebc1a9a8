"""What somebody needs of a network, and the strategies that may meet it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.budget import Budget, short
from stampbench.reports.paired_runs import by_reader
from stampbench.reports.statistics import cluster_interval

COSTS = ("parameters", "flops", "epochs", "ranking_passes")
"""Columns of runs that answers compare."""
WORK = "epochs × FLOPs"
"""A cost of its own: epochs, each as long as the FLOPs of the selected network."""
LIMIT = Budget(parameters=20_000)
"""The budget of the first need, unless a reader chooses another one."""
Row = Mapping[Any, Any]
"""A row of a leaderboard."""


class Need(NamedTuple):
    """What somebody needs of a network; rows are those of `Board.rows`.

    Attributes:
        words: the need in words.
        cost: the column that should be low.
        text: returns the cost in words.
        meets: returns whether a row meets the need; None: the row with the lowest cost does.
        timed: whether the cost depends on a machine, and is known with an interval only.
        besides: a second cost that must not be higher: an epoch of a network with more FLOPs takes longer, and without
            a ranking a network of any size can be trained.
    """

    words: str
    cost: str
    text: Callable[[Row], str]
    meets: Callable[[Row], bool] | None = None
    timed: bool = False
    besides: str = ""

    def below(self, arm: Arm, other: Arm) -> bool:
        """Return whether a strategy costs less; latencies differ if their intervals do not overlap.

        Latencies of different backends, processors or numbers of threads are not compared.
        """
        if self.timed:
            return arm.timed == other.timed and bool(arm.row["latency_high"] < other.row["latency_low"])
        return arm.below(other, self.cost) and not self.costs_more(arm, other)

    def costs_more(self, arm: Arm, other: Arm) -> bool:
        """Return whether a strategy has more of the second cost, if there is one."""
        return bool(self.besides) and other.below(arm, self.besides)

    def alike(self, arm: Arm, other: Arm) -> bool:
        """Return whether two strategies were timed in the same way and neither is measurably faster."""
        known = all(each.row["latency_high"] >= each.row["latency_low"] for each in (arm, other))
        return (
            self.timed and known and arm.timed == other.timed and not (self.below(arm, other) or self.below(other, arm))
        )


def _latency(row: Row) -> str:
    """Return latency with its interval, if there is one; the standard network is 1 by definition."""
    low, high = row["latency_low"], row["latency_high"]
    interval = f", 95 % {low:.2f} to {high:.2f}" if low < high else ""
    return f"{row['latency_ratio']:.2f} × latency{interval}"


NEEDS = {
    "parameters": Need("few parameters", "parameters", lambda row: f"{short(row['parameters'])} parameters"),
    "latency": Need("low latency", "latency_ratio", _latency, timed=True),
    "flops": Need("few FLOPs", "flops", lambda row: f"{short(row['flops'])} FLOPs"),
    "epochs": Need("few training epochs", "epochs", lambda row: f"{row['epochs']:,} epochs", besides=WORK),
    "ranking": Need(
        "no ranking of filters", "ranking_passes", lambda row: f"{short(row['parameters'])} parameters",
        lambda row: row["ranking_passes"] == 0, besides="parameters",
    ),
}  # fmt: skip
"""Needs after the first one, which is a budget; the first four by the names of a budget's limits."""


class Arm(NamedTuple):
    """A strategy with enough runs for an interval, under one protocol.

    Attributes:
        strategy: label of the strategy.
        protocol: label of the protocol.
        row: its row of the leaderboard.
        scores: its table of `dice_by_run`.
        timed: backend, processor and threads of its latency.
        costs: `COSTS` and `WORK` of its runs, indexed as `scores`.
        sets: whether training sets are the readers.
        low_precision: whether its networks are those of other runs again.
    """

    strategy: str
    protocol: str
    row: Row
    scores: pd.DataFrame
    timed: str
    costs: pd.DataFrame
    sets: bool
    low_precision: bool

    def below(self, other: Arm, cost: str) -> bool:
        """Return whether a cost of its runs is lower: the paired 95 % interval over readers excludes 0."""
        saved = by_reader((other.costs[[cost]] - self.costs[[cost]]).dropna(), sets=self.sets)[cost]
        return cluster_interval(saved.to_numpy(), range(len(saved))).low > 0
