"""Confidence intervals over subjects, and correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval; the bounds are NaN if there is only one subject."""

    mean: float
    low: float
    high: float


def cluster_interval(values: Sequence[float] | Floats, subjects: Sequence[Any], level: float = 0.95) -> Interval:
    """Return the mean over cases with a confidence interval that treats the cases of a subject as dependent.

    The variance is that of a ratio estimator over clusters (Cochran 1977, chapter 6), the width comes from Student's t
    with one degree of freedom fewer than there are subjects. If all subjects have the same number of cases, the
    interval equals that of the t-test over subjects.

    Args:
        values: the score of every case.
        subjects: the subject of every case, in the same order.
        level: confidence level.
    """
    scores = np.asarray(values, dtype=float)
    sums, counts = _sums_and_counts(scores, subjects)
    mean = float(scores.mean()) if len(scores) else math.nan
    units = len(counts)
    if units < 2:
        return Interval(mean, math.nan, math.nan)
    variance = float(((sums - mean * counts) ** 2).sum()) / len(scores) ** 2 * units / (units - 1)
    half = float(stdtrit(units - 1, (1 + level) / 2)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def holm(p_values: Sequence[float], families: Sequence[object] = ()) -> list[float]:
    """Return p-values adjusted by Holm's method (1979).

    The smallest p-value is multiplied by the number of tests m, the next one by m − 1, and so on; an adjusted value is
    never smaller than the one before it. NaN marks a test that was not possible: it stays NaN and does not count.

    Args:
        p_values: p-value of every test.
        families: family of every test, within which it is adjusted; without them, all tests are one.
    """
    adjusted, families = [math.nan] * len(p_values), families or [None] * len(p_values)
    for family in set(families):
        valid = [index for index, p in enumerate(p_values) if families[index] == family and not math.isnan(p)]
        largest = 0.0
        for position, index in enumerate(sorted(valid, key=lambda each: p_values[each])):
            largest = max(largest, min(1.0, (len(valid) - position) * p_values[index]))
            adjusted[index] = largest
    return adjusted


def _sums_and_counts(values: Floats, subjects: Sequence[Any]) -> tuple[Floats, Floats]:
    """Return the sum of values and the number of cases of every subject."""
    codes, found = pd.factorize(np.asarray(subjects, dtype=object))
    sums = np.bincount(codes, values, len(found)).astype(np.float64)
    return sums, np.bincount(codes, minlength=len(found)).astype(np.float64)
