"""Confidence intervals, paired tests, Pareto fronts and mean ranks for scores of cases clustered by subject."""

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
"""Number of bootstrap resamples; it makes the estimated standard error accurate to about one per cent."""
_SEED = 20220801


class Interval(NamedTuple):
    """A mean and the bounds of its 95 % confidence interval; the bounds are NaN if there is only one subject or run."""

    mean: float
    low: float
    high: float


class Paired(NamedTuple):
    """The paired difference between the scores of two strategies on the same cases, first minus second."""

    cases: int
    """Number of cases."""
    subjects: int
    """Number of subjects."""
    difference: Interval
    """Mean difference over cases, with an interval from a bootstrap over subjects."""
    t_p: float
    """p-value of the paired t-test over subjects."""
    wilcoxon_p: float
    """p-value of Wilcoxon's signed-rank test over subjects."""
    effect: float
    """Cohen's d of the paired differences: their mean over their standard deviation, over subjects."""


def cluster_interval(values: Sequence[float] | Floats, subjects: Sequence[Any], level: float = 0.95) -> Interval:
    """Return the mean over cases with a confidence interval from a bootstrap over subjects.

    The bootstrap draws subjects with all their cases. It provides the standard error; Student's t with one degree of
    freedom fewer than there are subjects provides the width. Percentiles of a bootstrap are not used because they never
    leave the range of the sample: with five subjects they cover the true mean in at most nine of ten experiments. If
    all subjects have the same number of cases, the interval equals that of the t-test.

    Args:
        values: the score of every case.
        subjects: the subject of every case, in the same order.
        level: confidence level.
    """
    scores = np.asarray(values, dtype=float)
    sums, counts = _sums_and_counts(scores, subjects)
    mean = float(scores.mean()) if len(scores) else math.nan
    if len(counts) < 2:
        return Interval(mean, math.nan, math.nan)
    weights = resample(len(counts))
    half = float(half_width((weights @ sums) / (weights @ counts), len(counts), level))
    return Interval(mean, mean - half, mean + half)


def crossed_interval(table: pd.DataFrame, subjects: Mapping[Any, Any], level: float = 0.95) -> Interval:
    """Return the mean score with a confidence interval over runs and subjects.

    The interval holds for other runs and other subjects than the measured ones: the bootstrap draws runs and subjects
    independently of each other. The degrees of freedom are those of the smaller of the two samples. A single run has
    no interval.

    Args:
        table: scores with a row per run and a column per case.
        subjects: the subject of every case.
        level: confidence level.
    """
    subject_of_column = [subjects[case] for case in table.columns]
    by_subject = table.T.groupby(subject_of_column).sum().to_numpy(dtype=float)
    cases = pd.Series(1.0, table.columns).groupby(subject_of_column).sum().to_numpy(dtype=float)
    mean = float(table.to_numpy().mean())
    fewest = min(by_subject.shape)
    if fewest < 2:
        return Interval(mean, math.nan, math.nan)
    subject_weights = resample(by_subject.shape[0])
    run_weights = np.random.default_rng(_SEED).permutation(resample(by_subject.shape[1]))
    sums = np.einsum("bs,sr,br->b", subject_weights, by_subject, run_weights)
    half = float(half_width(sums / (subject_weights @ cases) / by_subject.shape[1], fewest, level))
    return Interval(mean, mean - half, mean + half)


def half_width(resampled_means: Floats, units: int, level: float = 0.95) -> Any:
    """Return half the width of a mean's confidence interval.

    The variance of a bootstrap is (n − 1)/n times the unbiased variance; this is corrected.

    Args:
        resampled_means: the mean in every bootstrap resample; resamples are along the first axis.
        units: number of subjects or runs that the bootstrap draws.
        level: confidence level.
    """
    error = np.std(resampled_means, axis=0) * math.sqrt(units / (units - 1))
    return stats.t.ppf((1 + level) / 2, units - 1) * error


@lru_cache(maxsize=32)
def resample(subjects: int) -> Floats:
    """Return how often every bootstrap resample contains each subject, shape `(RESAMPLES, subjects)`.

    The seed is fixed, so every call with the same number of subjects returns the same counts.
    """
    generator = np.random.default_rng(_SEED + subjects)
    counts = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES).astype(np.float64)
    counts.flags.writeable = False
    return counts


def paired(first: pd.Series[float], second: pd.Series[float], subjects: Mapping[Any, Any]) -> Paired:
    """Compare the scores of two strategies on the same cases, first minus second.

    The interval is over cases, clustered by subject. The tests are over subjects: the cases of a subject are averaged
    first because they are not independent.

    Args:
        first: scores of the first strategy by case.
        second: scores of the second strategy by case.
        subjects: the subject of every case.

    Raises:
        ValueError: when the cases differ or a score is NaN.
    """
    if set(first.index) != set(second.index):
        raise ValueError("scores cannot be paired: the cases differ")
    difference = first - second.reindex(first.index)
    if difference.isna().any():
        raise ValueError(f"scores cannot be paired: case {difference.index[difference.isna()][0]} has no score")
    subject_of_case = [subjects[case] for case in difference.index]
    first_by_subject = first.groupby(subject_of_case).mean()
    second_by_subject = second.reindex(first.index).groupby(subject_of_case).mean()
    by_subject = first_by_subject - second_by_subject
    constant = np.allclose(by_subject, by_subject.iloc[0])
    t_p, wilcoxon_p = _tests(by_subject, constant=constant)
    return Paired(
        cases=len(difference),
        subjects=len(by_subject),
        difference=cluster_interval(difference.to_list(), subject_of_case),
        t_p=t_p,
        wilcoxon_p=wilcoxon_p,
        effect=math.nan if constant else float(by_subject.mean() / by_subject.std()),
    )


def _tests(differences: pd.Series[float], *, constant: bool) -> tuple[float, float]:
    """Return the p-values of the t-test and of Wilcoxon's test; the t-test is undefined for constant differences."""
    if len(differences) < 2:
        return math.nan, math.nan
    if np.allclose(differences, 0):
        return 1.0, 1.0
    t_p = math.nan if constant else float(stats.ttest_1samp(differences, 0).pvalue)
    return t_p, float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's method (1979).

    The smallest p-value is multiplied by the number of tests m, the next one by m − 1, and so on; an adjusted value is
    never smaller than the one before it. NaN marks a test that was not possible: it stays NaN and does not count.
    """
    adjusted = [math.nan] * len(p_values)
    valid = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    largest = 0.0
    for position, index in enumerate(sorted(valid, key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(valid) - position) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[bool]:
    """Return which points are on the Pareto front of low cost and high score.

    A point is on the front if no other point is at least as good in both and better in one. A point whose cost or score
    is NaN is never on the front.
    """
    points = list(zip(costs, scores, strict=True))

    def dominated(cost: float, score: float) -> bool:
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)

    return [not (math.isnan(cost) or math.isnan(score) or dominated(cost, score)) for cost, score in points]


def mean_ranks(scores: pd.DataFrame, subjects: Mapping[Any, Any]) -> tuple[pd.Series[float], Floats]:
    """Rank strategies within every case, 1 for the best, and average the ranks over cases.

    Args:
        scores: a row per case and a column per strategy, without missing values.
        subjects: the subject of every case.

    Returns:
        The mean rank of every strategy, and the mean ranks in every bootstrap resample over subjects, shape
        `(resamples, strategies)`, in the order of the columns.
    """
    ranks = scores.rank(axis=1, ascending=False, method="average")
    subject_of_case = [subjects[case] for case in ranks.index]
    sums = ranks.groupby(subject_of_case).sum().to_numpy()
    counts = ranks.groupby(subject_of_case).size().to_numpy().astype(float)
    weights = resample(len(counts))
    return ranks.mean(), (weights @ sums) / (weights @ counts)[:, None]


def _sums_and_counts(values: Floats, subjects: Sequence[Any]) -> tuple[Floats, Floats]:
    """Return the sum of values and the number of cases of every subject."""
    codes, found = pd.factorize(np.asarray(subjects, dtype=object))
    sums = np.bincount(codes, values, len(found)).astype(np.float64)
    return sums, np.bincount(codes, minlength=len(found)).astype(np.float64)
