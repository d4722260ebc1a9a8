"""Multi-reader multi-case analysis and decisions: simulations, hand calculations and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from stampbench.reports.decision import decide, readers_to_decide
from stampbench.reports.multi_reader import MIN_READERS, Estimate, analyse

NUCLEI = (0.0325, 0.0131, 0.0338, 84)
"""Standard deviations of D[run, subject] between runs, between subjects and of the rest, and the number of subjects:
stamp_plus minus standard on dsb2018 with 25 images, nine runs of leaderboards/cases.csv."""
HIPPOCAMPUS = (0.0121, 0.0085, 0.0266, 50)
"""stamp minus standard on hippocampus with 25 images, four runs."""


def draw(rng: np.random.Generator, readers: int, components: tuple[float, float, float, int]) -> np.ndarray:
    """Draw differences of two equal strategies."""
    reader, subject, rest, subjects = components
    return (
        rng.normal(0, reader, (readers, 1))
        + rng.normal(0, subject, (1, subjects))
        + rng.normal(0, rest, (readers, subjects))
    )


FEW_SUBJECTS = (0.02, 0.1, 0.03, 15)
"""Subjects dominate, as in Dice itself, and are as few as in the test set of acdc."""


@pytest.mark.parametrize("components", [NUCLEI, HIPPOCAMPUS, FEW_SUBJECTS])
@pytest.mark.parametrize("readers", [5, 10])
def test_equal_strategies_differ_in_five_per_cent_of_tables(
    readers: int, components: tuple[float, float, float, int]
) -> None:
    """The rate of p < .05 and of 95 % intervals without 0 is between 3 and 7 %.

    3000 tables: the standard deviation of a rate of 5 % is .4 %.
    """
    rng, trials = np.random.default_rng(readers), 3000
    found = [analyse(draw(rng, readers, components)) for _ in range(trials)]
    significant = sum(each.p < 0.05 for each in found) / trials
    excluded = sum(not each.interval()[0] <= 0 <= each.interval()[1] for each in found) / trials
    assert 0.03 < significant < 0.07
    assert excluded == significant
    decided = sum(decide(each) in ("better", "worse") for each in found) / trials
    assert decided == pytest.approx(significant, abs=0.002)


def test_a_test_over_subjects_alone_calls_equal_strategies_different() -> None:
    """What this analysis replaces: with runs that vary, Wilcoxon's test over subjects has a null rate above 35 %."""
    rng = np.random.default_rng(0)
    rejected = sum(stats.wilcoxon(draw(rng, 5, NUCLEI).mean(axis=0)).pvalue < 0.05 for _ in range(200))
    assert rejected / 200 > 0.35


def test_variance_comes_from_runs_where_runs_dominate_and_from_subjects_where_subjects_do() -> None:
    """Without other variation the interval is that of the t-test over readers, or over subjects."""
    means = np.array([0.01, -0.02, 0.03, 0.0, 0.05, -0.01])
    by_reader = analyse(np.repeat(means[:, None], 40, axis=1))
    assert by_reader.df == pytest.approx(5)
    assert by_reader.interval() == pytest.approx(stats.t.interval(0.95, 5, means.mean(), stats.sem(means)))
    assert by_reader.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    by_subject = analyse(np.repeat(means[None, :], 8, axis=0))
    assert by_subject.interval() == pytest.approx(stats.t.interval(0.95, 5, means.mean(), stats.sem(means)))


def test_mean_squares_agree_with_a_calculation_by_hand() -> None:
    """Two subjects; runs' means .1 to .5; effects of run i and subject j add, plus ±.01 in a checkerboard.

    MSR = 2 · Σ(mean − .3)²/4 = 2 · .1/4 = .05. The subjects' means are .3 ± .002 because four of the five checkerboard
    signs cancel: MSS = 5 · 2 · .002² = .00004. MSE = (10 · .01² − 10 · .002²)/4 = .00024. V = (.05 + 0)/10.
    """
    sign = np.array([[1, -1]] * 5) * np.array([1, -1, 1, -1, 1])[:, None]
    found = analyse(np.array([[0.1], [0.2], [0.3], [0.4], [0.5]]) + 0.01 * sign)
    assert found.mean == pytest.approx(0.3)
    assert found.variance == pytest.approx(0.005)
    assert found.df == pytest.approx(4)


@pytest.mark.filterwarnings("ignore:The MLE may be on the boundary")
def test_variance_agrees_with_a_mixed_model_with_crossed_random_effects() -> None:
    """statsmodels' REML estimate equals that of the mean squares if all components are positive."""
    table = draw(np.random.default_rng(3), 8, (0.05, 0.04, 0.03, 12)) + 0.02
    long = pd.DataFrame(table).rename_axis("reader").reset_index().melt("reader", var_name="subject", value_name="d")
    components = {"reader": "0 + C(reader)", "subject": "0 + C(subject)"}
    model = smf.mixedlm("d ~ 1", long.assign(all=1), groups="all", vc_formula=components, re_formula="0")
    fit = model.fit(reml=True)
    found = analyse(table)
    assert found.mean == pytest.approx(float(fit.params["Intercept"]))
    assert found.variance == pytest.approx(float(fit.cov_params().loc["Intercept", "Intercept"]), rel=0.01)


def test_degrees_of_freedom_agree_with_a_calculation_by_hand() -> None:
    """Five runs, two subjects, effects add: MSR = 2 · .1/4 = .05, MSS = 5 · 2 · .1² = .1, MSE = 0.

    df = (.05 + .1)² / (.05²/4 + .1²/1) = .0225 / .010625 = 2.1176.
    """
    found = analyse(np.array([0.1, 0.2, 0.3, 0.4, 0.5])[:, None] + np.array([0.1, -0.1]))
    assert found.variance == pytest.approx(0.015)
    assert found.df == pytest.approx(2.1176, rel=1e-4)


def test_intervals_cover_the_true_difference_at_their_level() -> None:
    rng, trials = np.random.default_rng(8), 2000
    covered = {0.9: 0, 0.95: 0}
    for _ in range(trials):
        found = analyse(draw(rng, 6, (0.02, 0.03, 0.03, 20)) + 0.04)
        for level in covered:
            low, high = found.interval(level)
            covered[level] += low <= 0.04 <= high
    for level, count in covered.items():
        assert count / trials == pytest.approx(level, abs=0.02)


def test_fewer_than_five_runs_have_a_mean_and_no_interval() -> None:
    found = analyse(np.full((MIN_READERS - 1, 10), 0.1))
    assert found.mean == pytest.approx(0.1)
    assert not found.sufficient
    assert math.isnan(found.p)
    assert math.isnan(found.interval()[0])
    assert decide(found) == "too few runs"
    assert not analyse(np.full((9, 1), 0.1)).sufficient, "a single subject has no interval"


def exactly(mean: float, half: float) -> Estimate:
    """Return an estimate with the given half width of the 95 % confidence interval and 20 degrees of freedom."""
    return Estimate(mean, (half / float(stats.t.ppf(0.975, 20))) ** 2, 20, 10, 50)


@pytest.mark.parametrize(
    ("difference", "p", "decision"),
    [
        (exactly(0.02, 0.019), None, "better"),
        (exactly(-0.02, 0.019), None, "worse"),
        (exactly(0.001, 0.01), None, "equivalent"),
        (exactly(0.001, 0.02), None, "undecided"),
        (exactly(0.009, 0.02), None, "undecided"),
        # Better by itself, not after correction; and its 90 % interval leaves the margin.
        (exactly(0.02, 0.019), 0.06, "undecided"),
        # Significant, but printed as +0.0000.
        (exactly(0.00001, 0.000001), None, "equivalent"),
        (Estimate(0.0, 0.0, math.inf, 10, 50), None, "equivalent"),
    ],
)
def test_decisions(difference: Estimate, p: float | None, decision: str) -> None:
    assert decide(difference, p=p) == decision


def test_the_margin_decides_about_equivalence() -> None:
    assert decide(exactly(0.0, 0.01), margin=0.005) == "undecided"
    assert decide(exactly(0.0, 0.01), margin=0.02) == "equivalent"


def test_the_last_binary_digit_of_a_score_changes_nothing() -> None:
    table = draw(np.random.default_rng(1), 6, (0.02, 0.0, 0.02, 12))
    assert analyse(np.nextafter(table, 1)) == analyse(table)


def test_the_number_of_runs_that_would_decide_is_that_of_the_t_test_where_runs_are_all_that_varies() -> None:
    means = np.array([0.02, -0.02, 0.04, 0.0, 0.05, -0.03, 0.03])
    found = analyse(np.repeat(means[:, None], 40, axis=1))
    assert decide(found) == "undecided"
    for questions in (1, 4):
        wanted = next(
            n
            for n in range(2, 1000)
            if 2 * stats.t.sf(means.mean() / (means.std(ddof=1) / n**0.5), n - 1) * questions < 0.05
        )
        assert readers_to_decide(found, questions=questions) == wanted > len(means)


def test_more_runs_do_not_decide_where_subjects_are_too_few() -> None:
    rng = np.random.default_rng(0)
    table = 0.001 + rng.normal(0, 0.1, (1, 12)) + rng.normal(0, 0.001, (6, 12))
    found = analyse(table)
    assert decide(found) == "undecided"
    assert readers_to_decide(found) is None
    assert found.with_readers(600).variance == pytest.approx(found.variance, rel=0.02)
    assert readers_to_decide(analyse(table[:4])) is None


def test_variance_with_more_runs_is_what_more_runs_have() -> None:
    """Five readers foretell, on average, the variance of twenty."""
    rng = np.random.default_rng(1)
    foretold = np.mean([analyse(draw(rng, 5, HIPPOCAMPUS)).with_readers(20).variance for _ in range(800)])
    seen = np.mean([analyse(draw(rng, 20, HIPPOCAMPUS)).variance for _ in range(800)])
    assert foretold == pytest.approx(seen, rel=0.05)
    found = analyse(draw(rng, 5, HIPPOCAMPUS))
    assert found.with_readers(5) == found
