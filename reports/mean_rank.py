"""Ranking of strategies over several datasets: rank within each case, then average, as challenges do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stampbench.reports.leaderboard import Board
from stampbench.reports.statistics import Floats, half_width, mean_ranks


class OverallRanking(NamedTuple):
    """The strategies that are on the leaderboard of every dataset, ordered by mean rank.

    `rows` has the columns `rank`, `strategy`, `mean_rank`, `low` and `high` (95 % confidence interval), `first` (share
    of bootstrap resamples in which the strategy comes first) and `rank DATASET` for each dataset. `notes` explain the
    numbers and name the strategies and leaderboards that are not included.
    """

    title: str
    notes: tuple[str, ...]
    rows: pd.DataFrame


def overall_ranking(boards: Sequence[Board]) -> list[OverallRanking]:
    """Return a ranking for each protocol and training size that at least two datasets share.

    Strategies are ranked by Dice within each test case; ranks are averaged over the cases of a dataset and then over
    datasets, which have equal weight (Antonelli et al. 2022 also rank before they aggregate). Confidence intervals come
    from a bootstrap over the subjects of every dataset. If a dataset has several leaderboards because of different
    versions, contents or image forms, the one with most strategies is used. The notes of the ranking name everything
    that is not included.
    """
    groups: dict[tuple[str, int], list[Board]] = {}
    for board in boards:
        groups.setdefault((board.about["protocol"], board.about["n_train"]), []).append(board)
    return [
        ranking
        for (protocol, n_train), group in sorted(groups.items())
        if (ranking := _rank_group(protocol, n_train, group))
    ]


def _rank_group(protocol: str, n_train: int, boards: Sequence[Board]) -> OverallRanking | None:
    """Rank the strategies that all datasets share; None if there are fewer than two datasets or strategies."""
    largest: dict[str, Board] = {}
    for board in sorted(boards, key=lambda each: (-len(each.rows), each.title)):
        largest.setdefault(board.about["dataset"], board)
    unused = [board.title for board in boards if largest[board.about["dataset"]] is not board]
    boards = [largest[dataset] for dataset in sorted(largest)]
    if len(boards) < 2:
        return None
    common = set.intersection(*(set(board.rows["strategy"]) for board in boards))
    partial = sorted(set.union(*(set(board.rows["strategy"]) for board in boards)) - common)
    if len(common) < 2:
        return None
    title = f"Overall, {n_train} training images, protocol {protocol}"
    notes = _notes(boards, common, partial, unused)
    return OverallRanking(title, tuple(notes), _rows(boards, sorted(common)))


def _rows(boards: Sequence[Board], strategies: list[str]) -> pd.DataFrame:
    means: list[Floats] = []
    resamples: list[Floats] = []
    for board in boards:
        ranks, resampled = mean_ranks(board.per_case[strategies].dropna(), board.subjects)
        means.append(np.asarray(ranks, dtype=np.float64))
        # Resamples of two datasets have to be independent, but come from the same seed, so each dataset is shuffled.
        resamples.append(np.random.default_rng(len(resamples)).permutation(resampled))
    mean_rank, resampled_means = np.mean(means, axis=0), np.mean(resamples, axis=0)
    half = half_width(resampled_means, min(len(set(board.subjects.values())) for board in boards))
    best = np.isclose(resampled_means, resampled_means.min(axis=1, keepdims=True))
    first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = mean_rank - half, mean_rank + half
    rows = pd.DataFrame({"strategy": strategies, "mean_rank": mean_rank, "low": low, "high": high, "first": first})
    for board, mean in zip(boards, means, strict=True):
        rows[f"rank {board.about['dataset']}"] = mean
    rows = rows.sort_values(["mean_rank", "strategy"], ignore_index=True)
    rows.insert(0, "rank", rows["mean_rank"].rank(method="min").astype(int))
    return rows


def _notes(boards: Sequence[Board], common: set[str], partial: Sequence[str], unused: Sequence[str]) -> list[str]:
    """Explain the numbers and name what is not included.

    Args:
        boards: the leaderboards that are ranked, one per dataset.
        common: strategies that all of these have.
        partial: strategies that only some of these have.
        unused: titles of further leaderboards of the same datasets.
    """
    notes = [
        f"Mean rank by Dice within each test case, averaged over {len(boards)} datasets with equal weight, with the "
        "95 % confidence interval of a bootstrap over subjects. first: share of bootstrap resamples in which the "
        "strategy has the best mean rank; ties are shared."
    ]
    if any(board.about["synthetic"] for board in boards):
        notes.append("Some of the images are synthetic: they are no evidence about patients.")
    if any(board.rows["runs"][board.rows["strategy"].isin(common)].nunique() > 1 for board in boards):
        notes.append(
            "Strategies differ in the number of runs; averaging over more runs improves the rank within a case."
        )
    if partial:
        notes.append(f"Not ranked, because they are missing from at least one dataset: {', '.join(partial)}.")
    if unused:
        notes.append(
            f"Skipped, because another leaderboard of the same dataset has more strategies: {'; '.join(unused)}."
        )
    return notes
