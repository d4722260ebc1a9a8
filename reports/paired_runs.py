"""Runs of two strategies paired by training set, fold and seed, and the difference between their Dice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from stampbench.reports.multi_reader import Estimate, analyse
from stampbench.reports.statistics import Interval, cluster_interval

RUN = ["training_set", "fold", "seed"]
"""Columns that identify a run of a strategy; runs of two strategies that agree in them are a pair."""
_PENALTY = 1e-3


def dice_by_run(runs: pd.DataFrame, cases: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the Dice of each strategy's runs: averaged over classes, then over the cases of a subject.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        cases: rows of `cases` as for `leaderboards`.

    Returns:
        By strategy, a row per run (indexed by training set, fold and seed) and a column per subject. NaN marks subjects
        of whom a run was not tested on all cases. The folds of a cross-validation are one row; see `joined_folds`.
    """
    design = joined_folds(runs).set_index("run")[["strategy", *RUN]]
    by_case = cases[cases["run"].isin(design.index)].groupby(["run", "subject", "case"], sort=False)["dice"].mean()
    grouped = by_case.groupby(["run", "subject"], sort=False)
    by_subject = grouped.mean().unstack("subject").sort_index(axis=1)
    tested = grouped.size().unstack("subject").reindex_like(by_subject)
    by_subject = by_subject.where(tested == tested.max())
    table = by_subject.join(design).groupby(["strategy", *RUN]).mean()
    return {str(name): part.droplevel("strategy") for name, part in table.groupby(level="strategy", sort=False)}


def joined_folds(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs in which all folds of a cross-validation have the number 0.

    Each fold tests other subjects, so only the folds together are comparable to the runs of another strategy.
    """
    return runs.assign(fold=runs["fold"].where(~cross_validated(runs), 0))


def cross_validated(runs: pd.DataFrame) -> pd.Series[bool]:
    """Return for each run whether it is a fold of a cross-validation."""
    return runs["split"].eq("cross_validation") if "split" in runs else pd.Series(False, runs.index)


def designs(runs: pd.DataFrame) -> list[tuple[int, ...]]:
    """Return training set, fold and seed of every run, in the order of the rows."""
    return list(runs[RUN].itertuples(index=False, name=None))


def pair(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return the differences first minus second of the runs and subjects in two tables of `dice_by_run`.

    Only training sets, folds and seeds that both have are paired. The result has no rows if a paired run was tested on
    other subjects than its partner, because means over different subjects cannot be compared.
    """
    if not first.index.equals(second.index):  # looked up faster than by the methods of a MultiIndex
        rows = {run: number for number, run in enumerate(second.index)}
        common = [number for number, run in enumerate(first.index) if run in rows]
        second = second.iloc[[rows[first.index[number]] for number in common]]
        first = first.iloc[common]
    first, second = _tested(first), _tested(second)
    if not first.columns.equals(second.columns):
        if set(first.columns) != set(second.columns):
            return first.iloc[:0]
        second = second[first.columns]
    difference = first.to_numpy() - second.to_numpy()
    if np.isnan(difference).any():
        return first.iloc[:0]
    return pd.DataFrame(difference, first.index, first.columns)


def _tested(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the subjects on whom no run was tested."""
    missing = np.isnan(table.to_numpy()).all(axis=0)
    return table.loc[:, ~missing] if missing.any() else table


def all_pairs(scores: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], pd.DataFrame]:
    """Return `pair` of every two strategies, in both directions.

    Args:
        scores: table of `dice_by_run` for each strategy.
    """
    found = {(one, other): pair(scores[one], scores[other]) for one, other in combinations(scores, 2)}
    return found | {(other, one): -difference for (one, other), difference in found.items()}


def adjusted_means(scores: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Return the mean Dice of each strategy, adjusted for the training sets, folds and seeds that it was run with.

    Least squares of Dice = strategy + run, where a run is a training set, fold and seed: a strategy that lacks the runs
    in which all others are bad does not gain by it. The effects of runs are penalised by a tiny amount, so that
    strategies without common runs keep their own mean.

    Args:
        scores: table of `dice_by_run` for each strategy.
    """
    long = pd.concat({name: table.mean(axis=1) for name, table in scores.items()})
    strategy, names = pd.factorize(long.index.get_level_values(0))
    run, _ = pd.factorize(long.index.droplevel(0))
    rows = np.arange(len(long))
    design = np.zeros((len(long) + run.max() + 1, len(names) + run.max() + 1))
    design[rows, strategy] = design[rows, len(names) + run] = 1
    design[len(long) :, len(names) :] = np.eye(run.max() + 1) * _PENALTY
    target = np.concatenate([long.to_numpy(), np.zeros(run.max() + 1)])
    effects = np.linalg.lstsq(design, target, rcond=None)[0]
    return {str(name): float(effect) for name, effect in zip(names, effects, strict=False)}


def by_reader(table: pd.DataFrame, *, sets: bool) -> pd.DataFrame:
    """Return a row per reader of the analysis: training sets, with their runs averaged, or runs.

    Args:
        table: a table of `dice_by_run` or `pair`.
        sets: whether training sets are the readers, which they are where there are several.
    """
    return table.groupby(level="training_set").mean() if sets else table


def estimate(table: pd.DataFrame, *, sets: bool) -> Estimate:
    """Return the multi-reader multi-case analysis of a table of `dice_by_run` or `pair`; NaN if it has gaps.

    Args:
        table: a table of `dice_by_run` or `pair`.
        sets: whether training sets are the readers.
    """
    complete = _tested(table)
    if complete.empty or np.isnan(complete.to_numpy()).any():
        return Estimate(math.nan, math.nan, math.nan, 0, 0)
    return analyse(by_reader(complete, sets=sets))


def interval_over_subjects(table: pd.DataFrame, *, sets: bool) -> Interval:
    """Return the mean over subjects with a confidence interval for these trained networks.

    Args:
        table: a table of `dice_by_run` or `pair`.
        sets: whether training sets are the readers.
    """
    by_subject = by_reader(table, sets=sets).mean(axis=0).dropna()
    return cluster_interval(by_subject.to_list(), list(by_subject.index))
