"""One ranking over several datasets, as challenges make it: rank, then aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stampbench.reports.leaderboard import Board
from stampbench.reports.statistics import Floats, half_width, mean_ranks


class OverallRanking(NamedTuple):
    """The strategies that stand on every board, by mean rank; and what was left out."""

    title: str
    notes: tuple[str, ...]
    rows: pd.DataFrame


def overall_ranking(boards: Sequence[Board]) -> list[OverallRanking]:
    """A ranking per protocol and training size that more than one dataset has.

    Strategies are ranked within each test case by Dice, ranks are averaged over the cases of a dataset and then over
    datasets, each counting the same (Antonelli et al. 2022 rank before they aggregate too). Intervals come from drawing
    subjects within every dataset. Of a dataset in several versions, contents or forms the board with most strategies is
    taken; what is left out is named.
    """
    groups: dict[tuple[str, int], list[Board]] = {}
    for board in boards:
        groups.setdefault((board.about["protocol"], board.about["n_train"]), []).append(board)
    return [
        found for (protocol, size), some in sorted(groups.items()) if (found := _overall(protocol, size, some))
    ]  # fmt: skip


def _overall(protocol: str, n_train: int, boards: Sequence[Board]) -> OverallRanking | None:
    kept: dict[str, Board] = {}
    for board in sorted(boards, key=lambda each: (-len(each.rows), each.title)):
        kept.setdefault(board.about["dataset"], board)
    left_out = [board.title for board in boards if kept[board.about["dataset"]] is not board]
    boards = [kept[name] for name in sorted(kept)]
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
        ranks, draws = mean_ranks(board.per_case[order].dropna(), board.subjects)
        means.append(np.asarray(ranks, dtype=np.float64))
        # The draws of two datasets have to be independent, so those of each are put into an order of their own.
        resamples.append(np.random.default_rng(len(resamples)).permutation(draws))
    mean_rank, drawn = np.mean(means, axis=0), np.mean(resamples, axis=0)
    half = half_width(drawn, min(len(set(board.subjects.values())) for board in boards))
    best = np.isclose(drawn, drawn.min(axis=1, keepdims=True))
    first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    rows = pd.DataFrame(
        {"strategy": order, "mean_rank": mean_rank, "low": mean_rank - half, "high": mean_rank + half, "first": first}
    )
    for board, mean in zip(boards, means, strict=True):
        rows[f"rank {board.about['dataset']}"] = mean
    rows = rows.sort_values(["mean_rank", "strategy"], ignore_index=True)
    rows.insert(0, "rank", rows["mean_rank"].rank(method="min").astype(int))
    notes = [
        f"Mean rank within each test case by Dice, averaged over {len(boards)} datasets, each counting the same, with "
        "the 95 % interval of a bootstrap over subjects. first: how often it comes first in the bootstrap, ties shared."
    ]
    if any(board.about["synthetic"] for board in boards):
        notes.append("Some of the images were generated: no evidence about patients.")
    if any(board.rows["runs"][board.rows["strategy"].isin(common)].nunique() > 1 for board in boards):
        notes.append("Strategies differ in runs; an average of more runs per case ranks better within cases.")
    if lacking:
        notes.append(f"Left out, since some dataset lacks them: {', '.join(lacking)}.")
    if left_out:
        notes.append(f"Left out, since another table of the dataset has more strategies: {'; '.join(left_out)}.")
    return OverallRanking(f"OverallRanking, {n_train} training images, protocol {protocol}", tuple(notes), rows)
