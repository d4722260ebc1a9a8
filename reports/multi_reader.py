"""Multi-reader multi-case analysis: a mean with an interval that holds for other training runs and other subjects.

A claim about a strategy is a claim about training it again. Therefore runs are treated as readers and subjects as cases
of a two-way random-effects model without replication (Obuchowski and Rockette 1995). With several training sets these
are the readers, and the runs of a training set are averaged first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]

MIN_READERS = 5
"""Fewest runs (or training sets) for which an interval is computed; intervals of fewer are too wide to be useful."""
_DIGITS = 9
"""Decimals to which scores are rounded first, so that rounding of sums decides nothing."""


class Estimate(NamedTuple):
    """A mean over readers and subjects, with its variance; NaN where there are too few readers or subjects.

    Attributes:
        mean: the mean.
        variance: variance of the mean over other readers and other subjects.
        df: degrees of freedom of Student's t.
        readers: number of runs or training sets.
        subjects: number of subjects.
        msr, mss, mse: mean squares of readers, of subjects and of the rest; NaN without a variance.
    """

    mean: float
    variance: float
    df: float
    readers: int
    subjects: int
    msr: float = math.nan
    mss: float = math.nan
    mse: float = math.nan

    def with_readers(self, readers: int) -> Estimate:
        """Return what this number of runs or training sets would give, if mean and variance components stayed.

        The share of subjects in MSS grows with the number of readers; MSR and MSE stay.
        """
        mss = self.mse + (self.mss - self.mse) * readers / self.readers
        return _estimate(self.mean, readers, self.subjects, (self.msr, mss, self.mse))

    @property
    def sufficient(self) -> bool:
        """Whether there are enough readers and subjects for an interval."""
        return not math.isnan(self.variance)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval; NaN if there are too few readers."""
        if not self.sufficient:
            return math.nan, math.nan
        half = float(stdtrit(self.df, (1 + level) / 2)) * math.sqrt(self.variance)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the mean is 0; NaN if there are too few readers."""
        if not self.sufficient:
            return math.nan
        if self.variance == 0:
            return 1.0 if self.mean == 0 else 0.0
        return float(2 * stdtr(self.df, -abs(self.mean) / math.sqrt(self.variance)))


def analyse(table: pd.DataFrame | Floats) -> Estimate:
    """Analyse scores, or paired differences, of readers (rows) and subjects (columns).

    Mean squares of the two-way analysis of variance: MSR of readers, MSS of subjects, MSE of the rest. The variance of
    the mean is V = (MSR + max(MSS − MSE, 0)) / (R·S). Its degrees of freedom are Satterthwaite's, which count the
    uncertainty of every mean square in V. Those of Hillis (2007), V²R²S²(R − 1) / MSR², are the same where subjects add
    nothing, and too many where subjects dominate.

    Args:
        table: `(R, S)` scores without missing values.
    """
    scores = np.round(np.asarray(table, dtype=np.float64), _DIGITS)
    readers, subjects = scores.shape
    mean = float(scores.mean()) if scores.size else math.nan
    if readers < MIN_READERS or subjects < 2:
        return Estimate(mean, math.nan, math.nan, readers, subjects)
    by_reader, by_subject = scores.mean(axis=1), scores.mean(axis=0)
    rest = scores - by_reader[:, None] - by_subject[None, :] + mean
    msr = subjects * float(((by_reader - mean) ** 2).sum()) / (readers - 1)
    mss = readers * float(((by_subject - mean) ** 2).sum()) / (subjects - 1)
    mse = float((rest**2).sum()) / ((readers - 1) * (subjects - 1))
    return _estimate(mean, readers, subjects, (msr, mss, mse))


def _estimate(mean: float, readers: int, subjects: int, squares: tuple[float, float, float]) -> Estimate:
    msr, mss, mse = squares
    total = msr + max(mss - mse, 0.0)
    uncertainty = msr**2 / (readers - 1)
    if mss > mse:
        uncertainty += mss**2 / (subjects - 1) + mse**2 / ((readers - 1) * (subjects - 1))
    df = total**2 / uncertainty if uncertainty > 0 else math.inf
    return Estimate(mean, total / (readers * subjects), df, readers, subjects, *squares)
