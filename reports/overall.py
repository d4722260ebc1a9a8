"""Ranking of strategies over several datasets, with its stability when training and subjects are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd

from stampbench.reports.leaderboard import LEARNT, Board
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.statistics import Floats

RESAMPLES = 1000
"""Number of bootstrap resamples."""
_SEED = 20220801


class OverallRanking(NamedTuple):
    """The strategies that have enough runs in common on every dataset, ordered by mean rank.

    `rows` has the columns `rank`, `strategy`, `mean_rank`, `low` and `high` (95 % confidence interval), `first` (share
    of resamples in which the strategy comes first), `iqm` (interquartile mean of the runs' Dice), `improvement`,
    `improvement_low` and `improvement_high` (probability that a run is better than one of `standard`; NaN without it)
    and `rank DATASET` for each dataset. `stability` is the mean Kendall's τ between the order and that of a resample.
    `notes` explain the numbers and name what is not included.
    """

    title: str
    notes: tuple[str, ...]
    rows: pd.DataFrame
    stability: float


def overall_ranking(boards: Sequence[Board]) -> list[OverallRanking]:
    """Return a ranking for each protocol and training size that at least two datasets share.

    Strategies are ranked by Dice within each run and subject; ranks are averaged over runs and subjects of a dataset
    and then over datasets, which have equal weight. Only runs count that all ranked strategies have. Intervals come
    from a hierarchical bootstrap over training sets, runs and subjects. Interquartile mean and probability of
    improvement follow Agarwal et al. (2021), Kendall's τ under the bootstrap follows Wiesenfarth et al. (2021).

    A leaderboard on which nothing is learnt does not count, nor do strategies without enough runs. If a dataset has
    several leaderboards because of different versions, contents or image forms, the one with most strategies is used.
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
        if float(board.rows["dice"].max()) >= LEARNT:
            largest.setdefault(board.about["dataset"], board)
    used = [largest[dataset] for dataset in sorted(largest)]
    if len(used) < 2:
        return None
    enough = [{name for name, table in board.scores.items() if len(table) >= MIN_READERS} for board in used]
    strategies = sorted(set.intersection(*enough))
    if len(strategies) < 2:
        return None
    tables = [common_scores(board, strategies) for board in used]
    if any(min(each[0].shape) < 2 or len(each[0]) < MIN_READERS for each in tables):
        return None
    rows, stability = _rows([str(board.about["dataset"]) for board in used], tables, strategies, _standard(used))
    excluded = sorted(set.union(*(set(board.rows["strategy"]) for board in boards)) - set(strategies))
    notes = _notes(used, tables, stability)
    if excluded:
        notes.append(f"Not ranked, because a dataset has fewer than {MIN_READERS} runs of them: {', '.join(excluded)}.")
    if unused := [board.title for board in boards if board not in used]:
        notes.append(f"Not counted, because little is learnt or another leaderboard is larger: {'; '.join(unused)}.")
    return OverallRanking(
        f"Overall, {n_train} training images, protocol {protocol}", tuple(notes), rows, stability
    )  # fmt: skip


def _standard(boards: Sequence[Board]) -> str | None:
    """Return the label of the reference row, if it is the same on all leaderboards."""
    labels = {label for board in boards for label in board.rows.loc[board.rows["decision"] == "reference", "strategy"]}
    return str(labels.pop()) if len(labels) == 1 else None


def common_scores(board: Board, strategies: Sequence[str]) -> list[pd.DataFrame]:
    """Return the tables of the strategies over the runs and subjects that all have."""
    tables = [board.scores[name] for name in strategies]
    runs = reduce(lambda one, other: one.intersection(other), [table.index for table in tables])
    tables = [table.loc[runs] for table in tables]
    complete = ~pd.concat(tables).isna().any()
    return [table.loc[:, complete] for table in tables]


def _rows(
    datasets: Sequence[str], tables: Sequence[list[pd.DataFrame]], strategies: list[str], standard: str | None
) -> tuple[pd.DataFrame, float]:  # fmt: skip
    """Return the rows of a ranking, and its stability.

    Args:
        datasets: names of the datasets.
        tables: for each dataset, a table of runs and subjects for each strategy, with equal rows and columns.
        strategies: names of the strategies.
        standard: name of the reference; None: there is none.
    """
    scores = [np.round(np.stack([table.to_numpy() for table in each]), 9) for each in tables]
    sets = [each[0].index.get_level_values("training_set").to_numpy() for each in tables]
    reference = strategies.index(standard) if standard in strategies else None
    from scipy import stats  # half a second to import, which a single leaderboard does not need

    ranks = [stats.rankdata(-each, axis=0) for each in scores]
    rng = np.random.default_rng(_SEED)
    resampled, resampled_gain = [], []
    for _ in range(RESAMPLES):
        drawn = [
            (_draw_runs(each, rng), rng.integers(0, rank.shape[2], rank.shape[2]))
            for each, rank in zip(sets, ranks, strict=True)
        ]
        resampled.append(np.mean([_mean(rank, *each) for rank, each in zip(ranks, drawn, strict=True)], axis=0))
        resampled_gain.append(
            _improvement(
                [score[:, runs][:, :, subjects] for score, (runs, subjects) in zip(scores, drawn, strict=True)],
                reference,
            )
        )
    by_dataset = np.array([rank.mean(axis=(1, 2)) for rank in ranks])
    draws, mean_rank, gain = np.array(resampled), by_dataset.mean(axis=0), _improvement(scores, reference)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    gain_low, gain_high = np.quantile(np.array(resampled_gain), [0.025, 0.975], axis=0)
    best = np.isclose(draws, draws.min(axis=1, keepdims=True))
    rows = pd.DataFrame(
        {
            "strategy": strategies, "mean_rank": mean_rank, "low": low, "high": high,
            "first": (best / best.sum(axis=1, keepdims=True)).mean(axis=0),
            "iqm": stats.trim_mean(np.concatenate([each.mean(axis=2) for each in scores], axis=1), 0.25, axis=1),
            "improvement": gain, "improvement_low": gain_low, "improvement_high": gain_high,
        }
    )  # fmt: skip
    for dataset, mean in zip(datasets, by_dataset, strict=True):
        rows[f"rank {dataset}"] = mean
    rows = rows.sort_values(["mean_rank", "strategy"], ignore_index=True)
    rows.insert(0, "rank", rows["mean_rank"].rank(method="min").astype(int))
    return rows, _agreement(mean_rank, draws)


def rank_shares(tables: Sequence[pd.DataFrame]) -> Floats:
    """Return how often each strategy takes each rank by mean Dice when runs and subjects are drawn again.

    Args:
        tables: a table of runs and subjects for each strategy, with equal rows and columns.

    Returns:
        Shares `(S, S)`: strategies by rank; ties are shared between the ranks.
    """
    scores = np.round(np.stack([table.to_numpy() for table in tables]), 9)
    sets = tables[0].index.get_level_values("training_set").to_numpy()
    rng, shares = np.random.default_rng(_SEED), np.zeros((len(tables), len(tables)))
    for _ in range(RESAMPLES):
        runs, subjects = _draw_runs(sets, rng), rng.integers(0, scores.shape[2], scores.shape[2])
        means = np.round(_mean(scores, runs, subjects), 9)
        better = (means[None, :] > means[:, None]).sum(axis=1)
        tied = (means[None, :] == means[:, None]).sum(axis=1)
        for strategy, (above, equal) in enumerate(zip(better, tied, strict=True)):
            shares[strategy, above : above + equal] += 1 / equal
    return shares / RESAMPLES


def _agreement(order: Floats, draws: Floats) -> float:
    """Return the mean Kendall's τ between mean ranks and those of resamples; a tied pair counts 0.

    Args:
        order: mean rank of each strategy, `(S,)`.
        draws: the same in each resample, `(B, S)`.
    """
    one, other = np.triu_indices(len(order), 1)
    signs = np.sign(order[one] - order[other]) * np.sign(draws[:, one] - draws[:, other])
    return float(signs.mean())


def _draw_runs(sets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw training sets, and then as many runs of each drawn set as it has; return positions of runs.

    Args:
        sets: the training set of every run.
        rng: generator of random numbers.
    """
    members = [np.flatnonzero(sets == number) for number in np.unique(sets)]
    drawn = [members[number] for number in rng.integers(0, len(members), len(members))]
    return np.concatenate([rng.choice(runs, len(runs)) for runs in drawn])


def _mean(values: Floats, runs: np.ndarray, subjects: np.ndarray) -> Floats:
    """Return the mean of each strategy, shape `(S,)`, of `(S, R, N)` values over drawn runs and subjects."""
    mean: Floats = values[:, runs][:, :, subjects].mean(axis=(1, 2))
    return mean


def _improvement(scores: Sequence[Floats], reference: int | None) -> Floats:
    """Return the probability that a strategy's run is better than one of the reference, ties counted half.

    Args:
        scores: for each dataset, `(S, R, N)` Dice of strategies, runs and subjects.
        reference: position of the reference among the strategies; None: the result is NaN.

    Returns:
        Shape `(S,)`, averaged over datasets.
    """
    if reference is None:
        return np.full(len(scores[0]), np.nan)
    by_dataset = []
    for each in scores:
        means = np.round(each.mean(axis=2), 9)
        wins = np.sign(means[:, :, None] - means[reference][None, None, :])
        by_dataset.append((wins / 2 + 0.5).mean(axis=(1, 2)))
    probability: Floats = np.mean(by_dataset, axis=0)
    return probability


def _notes(boards: Sequence[Board], tables: Sequence[list[pd.DataFrame]], stability: float) -> list[str]:
    """Explain the numbers of a ranking."""
    runs = ", ".join(
        f"{board.about['dataset']} {len(each[0])}" for board, each in zip(boards, tables, strict=True)
    )  # fmt: skip
    notes = [
        f"Mean rank by Dice within each run and subject, averaged over {len(boards)} datasets with equal weight, with "
        "the 95 % confidence interval of a bootstrap over training sets, runs and subjects. Runs that all strategies "
        f"have: {runs}. first: share of resamples in which the strategy has the best mean rank; ties are shared. IQM: "
        "interquartile mean of the Dice of all runs. P(better): probability that a run is better than a run of the "
        "standard network, averaged over datasets.",
        f"Stability: Kendall's τ between this order and that of a resample is {stability:.2f} on average (1: always "
        "the same order).",
    ]
    if any(board.about["synthetic"] for board in boards):
        notes.append("Some of the images are synthetic: they are no evidence about patients.")
    return notes
