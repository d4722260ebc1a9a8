"""Statistics compared with scipy, statsmodels, a published example and simulations."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stampbench.reports.comparison import IncomparableError, compare, to_markdown
from stampbench.reports.statistics import cluster_interval, crossed_interval, holm, mean_ranks, paired, pareto_front

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
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_does_not_count_nan() -> None:
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[0::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[1])


def scores(seed: int, number: int = 20) -> tuple[pd.Series, pd.Series]:  # type: ignore[type-arg]
    """Draw the scores of two strategies on the same cases."""
    rng = np.random.default_rng(seed)
    cases = [f"c{each}" for each in range(number)]
    first = pd.Series(rng.normal(0.8, 0.1, number), cases)
    return first, first - rng.normal(0.02, 0.03, number)


def test_paired_tests_agree_with_scipy() -> None:
    first, second = scores(0)
    found = paired(first, second.sample(frac=1, random_state=1), {case: case for case in first.index})
    assert found.t_p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(first, second).pvalue)
    difference = first - second
    assert found.difference.mean == pytest.approx(difference.mean())
    assert found.effect == pytest.approx(difference.mean() / difference.std(ddof=1))


def test_paired_tests_are_over_subjects() -> None:
    """Duplicating every case leaves the p-values unchanged; they would fall if cases counted as independent."""
    first, second = scores(1)
    subjects = {case: case for case in first.index}
    twice = [pd.concat([each, each.rename(lambda case: f"{case}/again")]) for each in (first, second)]
    subjects_of_both = subjects | {f"{case}/again": case for case in subjects}
    once, duplicated = paired(first, second, subjects), paired(*twice, subjects_of_both)
    assert (duplicated.cases, duplicated.subjects) == (40, 20)
    assert duplicated.t_p == pytest.approx(once.t_p)
    assert duplicated.wilcoxon_p == pytest.approx(once.wilcoxon_p)
    assert duplicated.difference == pytest.approx(once.difference)


def test_unpaired_or_missing_scores_are_refused_and_equal_scores_have_p_1() -> None:
    first, second = scores(2)
    subjects = {case: case for case in first.index}
    with pytest.raises(ValueError, match="cases differ"):
        paired(first, second.iloc[1:], subjects)
    with pytest.raises(ValueError, match="case c0 has no score"):
        paired(first, second.where(second.index != "c0"), subjects)
    same = paired(first, first, subjects)
    assert (same.t_p, same.wilcoxon_p, same.difference.mean) == (1, 1, 0)
    shifted = paired(first, first - 0.1, subjects)
    assert math.isnan(shifted.effect), "constant differences have no effect size"
    one = paired(first.iloc[:1], second.iloc[:1], subjects)
    assert math.isnan(one.t_p)
    assert math.isnan(one.difference.low)


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


def test_intervals_over_runs_and_subjects_cover_the_true_mean_at_their_level() -> None:
    """Simulate six runs on twelve subjects, with random effects of runs and subjects; the tolerance is as above."""
    rng, trials, covered = np.random.default_rng(1), 1000, 0
    names = {f"c{n}": n for n in range(12)}
    for _ in range(trials):
        scores = rng.normal(0, 0.02, (6, 1)) + rng.normal(0, 0.03, 12) + rng.normal(0, 0.01, (6, 12))
        interval = crossed_interval(pd.DataFrame(scores, columns=list(names)), names)
        covered += interval.low <= 0 <= interval.high
    assert 0.95 - 0.024 - 0.02 <= covered / trials <= 1


def test_one_bad_run_does_not_make_a_difference_between_strategies() -> None:
    """The interval over subjects excludes 0 because one of two runs is bad; the interval over runs includes 0."""
    names = {f"c{n}": n for n in range(30)}
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 30))
    table = pd.DataFrame(noise + np.array([[-0.01], [0.08]]), columns=list(names))
    assert cluster_interval(table.mean(), list(names)).low > 0
    assert crossed_interval(table, names).low < 0
    assert math.isnan(crossed_interval(table.iloc[:1], names).low)


def test_interval_of_subjects_with_different_numbers_of_cases() -> None:
    """Two subjects with one and three cases: resampled means are 0, 3/4 and 1 with probability 1/4, 1/2 and 1/4.

    Their variance is .5 · .75² + .25 − .625² = .1406 and the unbiased variance is twice that. Student's t with one
    degree of freedom is 12.706, so half the width is 12.706 · √.2813 = 6.738.
    """
    interval = cluster_interval([0.0, 1.0, 1.0, 1.0], ["a", "b", "b", "b"])
    assert interval.mean == 0.75
    assert interval.high - 0.75 == pytest.approx(6.738, rel=0.03)


@pytest.mark.parametrize("number", [3, 30])
def test_interval_of_subjects_with_one_case_each_is_that_of_the_t_test(number: int) -> None:
    values = np.random.default_rng(3).normal(0, 1, number)
    expected = stats.t.interval(0.95, number - 1, values.mean(), stats.sem(values))
    found = cluster_interval(values, list(range(number)))
    assert found.high - found.low == pytest.approx(expected[1] - expected[0], rel=0.04)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=10))
def test_pareto_front_has_the_points_that_no_point_dominates(points: list[tuple[int, int]]) -> None:
    costs, gains = zip(*points, strict=True)
    front = pareto_front(costs, gains)
    for (cost, gain), on_front in zip(points, front, strict=True):
        dominated = any((c < cost and g >= gain) or (c <= cost and g > gain) for c, g in points)
        assert on_front == (not dominated)
    assert pareto_front([math.nan, 1.0], [0.9, 0.5]) == [False, True]


def test_mean_ranks_average_over_cases_and_resample_subjects() -> None:
    table = pd.DataFrame({"a": [3.0, 3.0, 1.0], "b": [2.0, 3.0, 2.0]}, index=["x", "y", "z"])
    mean, resampled = mean_ranks(table, {"x": "s", "y": "s", "z": "t"})
    assert dict(mean) == {"a": pytest.approx((1 + 1.5 + 2) / 3), "b": pytest.approx((2 + 1.5 + 1) / 3)}
    # The three possible resamples of two subjects: s twice, s and t, t twice.
    assert set(resampled[:, 0].round(6)) == {1.25, 1.5, 2.0}


def test_compare_uses_only_folds_that_both_strategies_have(frames) -> None:  # type: ignore[no-untyped-def]
    runs, cases = frames(
        {"strategy": "a", "dice": {"x": 0.8, "y": 0.6, "z": 0.7}},
        {"strategy": "a", "fold": 1, "dice": {"x": 0.9, "y": 0.9, "z": 0.9}},
        {"strategy": "b", "dice": {"x": 0.5, "y": 0.7, "z": 0.6}},
    )
    (found,) = compare(runs[runs["strategy"] == "a"], runs[runs["strategy"] == "b"], cases)
    assert found.paired.difference.mean == pytest.approx(0.1)
    assert list(found.cases["case"]) == ["x", "z", "y"]
    assert list(found.runs) == [pytest.approx(0.1)]
    text = to_markdown([found])
    assert "a minus b" in text
    assert "+0.1000" in text
    assert "In 1 of 1 rows the interval over runs and subjects" in text
    assert "includes 0 or is missing: these rows show no difference" in text
    assert "1 of 1 rows compare a single pair of runs: variation between training runs is not included" in text


def test_error_of_incomparable_runs_names_what_differs(frames) -> None:  # type: ignore[no-untyped-def]
    runs, cases = frames(
        {"strategy": "a", "dice": {"x": 0.8}},
        {"strategy": "b", "dice": {"x": 0.8}, "group": "h", "protocol": "paper"},
        {"strategy": "c", "dice": {"x": 0.8}, "fold": 1},
        {"strategy": "c", "dice": {"x": 0.8}, "fold": 2},
    )
    a, b, c = (runs[runs["strategy"] == name] for name in "abc")
    with pytest.raises(IncomparableError, match="the runs differ in protocol: quick and paper"):
        compare(a, b, cases)
    with pytest.raises(IncomparableError, match="the runs have no fold and seed in common"):
        compare(a, c, cases)
