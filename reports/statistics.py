"""Intervals, tests and ranks of scores that belong to cases, and cases to subjects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

RESAMPLES = 4000
"""Bootstrap resamples; they tell a standard error to about one per cent."""
_SEED = 20220801


class Interval(NamedTuple):
    """A mean and its 95 % interval; one subject has none, which is NaN."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """One strategy's scores less another's on the same cases."""

    cases: int
    subjects: int
    difference: Interval
    t_p: float
    wilcoxon_p: float
    effect: float
    """Cohen's d of paired differences: their mean over their standard deviation, over subjects."""


def cluster_interval(values: Sequence[float] | Floats, subjects: Sequence[Any], level: float = 0.95) -> Interval:
    """The mean over cases, with an interval from a bootstrap that draws subjects with all their cases.

    The bootstrap gives the standard error, Student's t of one degree of freedom less than subjects the width:
    percentiles of a bootstrap never leave the range of the sample, and with five subjects they cover the truth nine
    times in ten at most. Subjects with as many cases each have the interval of the t-test.
    """
    scores = np.asarray(values, dtype=float)
    sums, counts = _clusters(scores, subjects)
    mean = float(scores.mean()) if len(scores) else math.nan
    if len(counts) < 2:
        return Interval(mean, math.nan, math.nan)
    weights = resample(len(counts))
    half = float(half_width((weights @ sums) / (weights @ counts), len(counts), level))
    return Interval(mean, mean - half, mean + half)


def crossed_interval(table: pd.DataFrame, subjects: Mapping[Any, Any], level: float = 0.95) -> Interval:
    """The mean of scores by run (rows) and case (columns), for other runs and other subjects than these.

    Runs and subjects are drawn independently of each other; degrees of freedom are those of the fewer of them. One run
    has no interval.
    """
    owners = [subjects[case] for case in table.columns]
    by_subject = table.T.groupby(owners).sum().to_numpy(dtype=float)
    cases = pd.Series(1.0, table.columns).groupby(owners).sum().to_numpy(dtype=float)
    mean = float(table.to_numpy().mean())
    fewest = min(by_subject.shape)
    if fewest < 2:
        return Interval(mean, math.nan, math.nan)
    of_subjects = resample(by_subject.shape[0])
    of_runs = np.random.default_rng(_SEED).permutation(resample(by_subject.shape[1]))
    sums = np.einsum("bs,sr,br->b", of_subjects, by_subject, of_runs)
    half = float(half_width(sums / (of_subjects @ cases) / by_subject.shape[1], fewest, level))
    return Interval(mean, mean - half, mean + half)


def half_width(drawn: Floats, units: int, level: float = 0.95) -> Any:
    """Half the width of the interval of a mean whose bootstrap resamples are `drawn` (along the first axis).

    A bootstrap's variance is (n − 1)/n of the unbiased one.
    """
    error = np.std(drawn, axis=0) * math.sqrt(units / (units - 1))
    return stats.t.ppf((1 + level) / 2, units - 1) * error


@lru_cache(maxsize=32)
def resample(subjects: int) -> Floats:
    """How often each subject is drawn in each resample, `(RESAMPLES, subjects)`; the same whenever it is asked."""
    generator = np.random.default_rng(_SEED + subjects)
    drawn = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def paired(first: pd.Series[float], second: pd.Series[float], subjects: Mapping[Any, Any]) -> Paired:
    """Compare scores of the same cases, `first` less `second`.

    The interval is over cases, clustered by subject; tests are over subjects, whose cases are averaged first, since
    cases of a subject are not independent.

    Args:
        first, second: scores by case.
        subjects: the subject of every case.

    Raises:
        ValueError: the cases differ, or a score is NaN.
    """
    if set(first.index) != set(second.index):
        raise ValueError("the cases differ")
    difference = first - second.reindex(first.index)
    if difference.isna().any():
        raise ValueError(f"case {difference.index[difference.isna()][0]} has no score")
    owners = [subjects[case] for case in difference.index]
    mine = first.groupby(owners).mean()
    other = second.reindex(first.index).groupby(owners).mean()
    each = mine - other
    alike = np.allclose(each, each.iloc[0])
    t_p, wilcoxon_p = _tests(each, alike=alike)
    return Paired(
        cases=len(difference),
        subjects=len(each),
        difference=cluster_interval(difference.to_list(), owners),
        t_p=t_p,
        wilcoxon_p=wilcoxon_p,
        effect=math.nan if alike else float(each.mean() / each.std()),
    )


def _tests(differences: pd.Series[float], *, alike: bool) -> tuple[float, float]:
    """p of the t-test and of Wilcoxon's signed-rank test; differences that are all the same have no t-test."""
    if len(differences) < 2:
        return math.nan, math.nan
    if np.allclose(differences, 0):
        return 1.0, 1.0
    t_p = math.nan if alike else float(stats.ttest_1samp(differences, 0).pvalue)
    return t_p, float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): the smallest times their number, the next times one less, never falling.

    NaN, a test that could not be made, stays NaN and is not counted.
    """
    adjusted = [math.nan] * len(p_values)
    made = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    largest = 0.0
    for position, index in enumerate(sorted(made, key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(made) - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Which points no other point beats: none has a lower cost without a lower score, or a higher score as cheaply.

    A point without cost or score is on no front.
    """
    points = list(zip(costs, scores, strict=True))

    def beaten(cost: float, score: float) -> bool:
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)

    return [not (math.isnan(cost) or math.isnan(score) or beaten(cost, score)) for cost, score in points]


def mean_ranks(scores: pd.DataFrame, subjects: Mapping[Any, Any]) -> tuple[pd.Series[float], Floats]:
    """Ranks within every case, 1 the best, averaged over cases; and the same of every bootstrap resample.

    Args:
        scores: a row per case, a column per strategy, no gaps.
        subjects: the subject of every case.

    Returns:
        Mean rank by strategy, and `(resamples, strategies)` in the order of the columns.
    """
    ranks = scores.rank(axis=1, ascending=False, method="average")
    owners = [subjects[case] for case in ranks.index]
    sums = ranks.groupby(owners).sum().to_numpy()
    counts = ranks.groupby(owners).size().to_numpy().astype(float)
    weights = resample(len(counts))
    return ranks.mean(), (weights @ sums) / (weights @ counts)[:, None]


def _clusters(values: Floats, subjects: Sequence[Any]) -> tuple[Floats, Floats]:
    codes, found = pd.factorize(np.asarray(subjects, dtype=object))
    sums = np.bincount(codes, values, len(found)).astype(np.float64)
    return sums, np.bincount(codes, minlength=len(found)).astype(np.float64)
