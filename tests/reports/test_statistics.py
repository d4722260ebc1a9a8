"""Statistics compared with scipy, statsmodels, a published example and simulations."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stampbench.reports.statistics import cluster_interval, holm

P = st.floats(0, 1)


def test_holm_agrees_with_a_published_example() -> None:
    """Wikipedia, Holm–Bonferroni method: of these four tests, the first and the last are rejected at .05.

    Adjusted by hand: 4 · .005, 3 · .01, 2 · .03, and .04, which is raised to the value before it.
    """
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert [p < 0.05 for p in adjusted] == [True, False, False, True]
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=25, deadline=None)
@given(st.lists(P, min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    with mock.patch("gc.collect"):  # statsmodels collects garbage in every call, which takes half a second each time
        expected = list(multipletests(p_values, method="holm")[1])
    assert holm(p_values) == pytest.approx(expected)


def test_holm_corrects_within_families() -> None:
    p_values, families = [0.01, 0.04, 0.03, 0.005], ["a", "b", "a", "b"]
    assert holm(p_values, families) == pytest.approx([0.02, 0.04, 0.03, 0.01])


def test_holm_does_not_count_nan() -> None:
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[1])


@pytest.mark.parametrize(("subjects", "cases"), [(2, 1), (3, 1), (5, 2), (15, 2), (50, 1)])
def test_intervals_over_subjects_cover_the_true_mean_at_their_level(subjects: int, cases: int) -> None:
    """Simulate a thousand sets of scores with a random effect of each subject.

    At 95 % the number of covering intervals is binomial with standard deviation √(1000 · .95 · .05) = 6.9; the
    tolerance .024 is 3.5 standard deviations.
    """
    rng, trials, covered = np.random.default_rng(subjects), 1000, 0
    subject_of_case = np.repeat(np.arange(subjects), cases)
    for _ in range(trials):
        values = rng.normal(0.8, 0.05, subjects)[subject_of_case] + rng.normal(0, 0.02, subjects * cases)
        interval = cluster_interval(values, subject_of_case.tolist())
        covered += interval.low <= 0.8 <= interval.high
    assert covered / trials == pytest.approx(0.95, abs=0.024)


def test_intervals_do_not_treat_cases_of_a_subject_as_independent() -> None:
    """With ten cases per subject, an interval over cases covers the true mean in less than two thirds of the trials."""
    rng, covered, naive = np.random.default_rng(0), 0, 0
    subject_of_case = np.repeat(np.arange(10), 10)
    for _ in range(300):
        values = rng.normal(0.8, 0.05, 10)[subject_of_case] + rng.normal(0, 0.02, 100)
        interval = cluster_interval(values, subject_of_case.tolist())
        covered += abs(interval.mean - 0.8) <= _half(values, subject_of_case.tolist())
        naive += abs(values.mean() - 0.8) <= _half(values, list(range(100)))
    assert covered / 300 > 0.9
    assert naive / 300 < 0.67


def _half(values: np.ndarray, subject_of_case: list[int]) -> float:
    """Return half the width of an interval."""
    interval = cluster_interval(values, subject_of_case)
    return (interval.high - interval.low) / 2


def test_intervals_of_skewed_scores_cover_the_true_mean() -> None:
    """Scores follow Beta(8, 2), skewed like Dice; the tolerance .021 is three standard deviations of 1000 trials."""
    rng, covered = np.random.default_rng(4), 0
    for _ in range(1000):
        interval = cluster_interval(rng.beta(8, 2, 30), list(range(30)))
        covered += interval.low <= 0.8 <= interval.high
    assert covered / 1000 > 0.95 - 0.021


def test_interval_of_subjects_with_different_numbers_of_cases() -> None:
    """Two subjects with one and three cases, of Dice 0 and 1: the mean is 3/4.

    Deviations of the subjects' sums: 0 − 1 · ¾ and 3 − 3 · ¾, so ∓¾. Variance: 2 · (¾)²/4² · 2/1 = .1406. Student's t
    with one degree of freedom is 12.706, so half the width is 12.706 · √.1406 = 4.765.
    """
    interval = cluster_interval([0.0, 1.0, 1.0, 1.0], ["a", "b", "b", "b"])
    assert interval.mean == 0.75
    assert interval.high - 0.75 == pytest.approx(4.765, rel=1e-3)


def test_duplicated_cases_do_not_narrow_the_interval() -> None:
    values = list(np.random.default_rng(1).normal(0.8, 0.1, 20))
    assert cluster_interval(values * 2, [*range(20)] * 2) == pytest.approx(cluster_interval(values, [*range(20)]))


def test_one_subject_has_no_interval() -> None:
    assert math.isnan(cluster_interval([0.5, 0.6], ["a", "a"]).low)
    assert math.isnan(cluster_interval([], []).mean)


@pytest.mark.parametrize("number", [3, 30])
def test_interval_of_subjects_with_one_case_each_is_that_of_the_t_test(number: int) -> None:
    values = np.random.default_rng(3).normal(0, 1, number)
    expected = stats.t.interval(0.95, number - 1, values.mean(), stats.sem(values))
    found = cluster_interval(values, list(range(number)))
    assert found.high - found.low == pytest.approx(expected[1] - expected[0])
