"""One ranking over several datasets, as challenges make it: rank, then aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stampbench.reports.leaderboard import Board
from stampbench.reports.statistics import Floats, mean_ranks, percentiles


class Overall(NamedTuple):
    """The strategies that stand on every board, by mean rank; and what was left out."""

    title: str
    notes: tuple[str, ...]
    rows: pd.DataFrame


def overall(boards: Sequence[Board]) -> list[Overall]:
    """A ranking per protocol and training size that more than one dataset has.

    Strategies are ranked within each test case by Dice, ranks are averaged over the cases of a dataset and then over
    datasets, each counting the same (Antonelli et al. 2022 rank before they aggregate too). Intervals come from drawing
    subjects within every dataset. A dataset in two versions, contents or sizes is left out, as are strategies that some
    board lacks.
    """
    groups: dict[tuple[str, int], list[Board]] = {}
    for board in boards:
        groups.setdefault((board.about["protocol"], board.about["n_train"]), []).append(board)
    return [
        found for (protocol, size), some in sorted(groups.items()) if (found := _overall(protocol, size, some))
    ]  # fmt: skip


def _overall(protocol: str, n_train: int, boards: Sequence[Board]) -> Overall | None:
    names = [board.about["dataset"] for board in boards]
    twice = sorted({name for name in names if names.count(name) > 1})
    boards = [board for board in boards if board.about["dataset"] not in twice]
    if len(boards) < 2:
        return None
    common = set.intersection(*(set(board.rows["strategy"]) for board in boards))
    lacking = sorted(set.union(*(set(board.rows["strategy"]) for board in boards)) - common)
    if len(common) < 2:
        return None
    order = sorted(common)
    means: list[Floats] = []
    resamples: list[Floats] = []
    for board in boards:
        ranks, draws = mean_ranks(board.per_case[order], board.subjects)
        means.append(np.asarray(ranks, dtype=np.float64))
        # The draws of two datasets have to be independent, so those of each are put into an order of their own.
        resamples.append(np.random.default_rng(len(resamples)).permutation(draws))
    mean_rank, drawn = np.mean(means, axis=0), np.mean(resamples, axis=0)
    low, high = percentiles(drawn)
    first = (drawn.argmin(axis=1)[:, None] == np.arange(len(order))).mean(axis=0)
    rows = pd.DataFrame({"strategy": order, "mean_rank": mean_rank, "low": low, "high": high, "first": first})
    for board, mean in zip(boards, means, strict=True):
        rows[f"rank {board.about['dataset']}"] = mean
    rows = rows.sort_values(["mean_rank", "strategy"], ignore_index=True)
    rows.insert(0, "rank", rows["mean_rank"].rank(method="min").astype(int))
    notes = [
        f"Mean rank within each test case by Dice, averaged over {len(boards)} datasets, each counting the same, with "
        "the 95 % interval of a bootstrap over subjects. first: how often it comes first in the bootstrap."
    ]
    if lacking:
        notes.append(f"Left out, since some dataset lacks them: {', '.join(lacking)}.")
    if twice:
        notes.append(f"Left out, since they come in several versions or sizes: {', '.join(twice)}.")
    return Overall(f"Overall, {n_train} training images, protocol {protocol}", tuple(notes), rows)
