"""Comparisons of two strategies or two runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from stampbench.reports.comparison import IncomparableError, compare, corrected
from stampbench.reports.comparison_tables import comparison_listing, to_markdown
from stampbench.reports.multi_reader import analyse

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def drawn(strategy: str, mean: float, seed: int, sets: int = 1, folds: int = 6, **columns: object) -> list[dict]:  # type: ignore[type-arg]
    """Return runs with random Dice on ten cases."""
    rng = np.random.default_rng(seed)
    return [
        {
            "strategy": strategy, "training_set": number, "fold": fold,
            "dice": {f"c{n}": float(x) for n, x in enumerate(rng.normal(mean, 0.02, 10))}, **columns,
        }
        for number in range(sets)
        for fold in range(folds)
    ]  # fmt: skip


def of(runs: pd.DataFrame, strategy: str) -> pd.DataFrame:
    return runs[runs["strategy"] == strategy]


def test_only_folds_that_both_strategies_have_are_compared(frames: Frames) -> None:
    runs, cases = frames(
        {"strategy": "a", "dice": {"x": 0.8, "y": 0.6, "z": 0.7}},
        {"strategy": "a", "fold": 1, "dice": {"x": 0.9, "y": 0.9, "z": 0.9}},
        {"strategy": "b", "dice": {"x": 0.5, "y": 0.7, "z": 0.6}},
    )
    (found,) = compare(of(runs, "a"), of(runs, "b"), cases)
    assert found.over_cases.mean == pytest.approx(0.1)
    assert list(found.cases["case"]) == ["x", "z", "y"]
    assert list(found.runs) == [pytest.approx(0.1)]
    text = to_markdown([found])
    assert "a − b" in text
    assert "+0.1000" in text
    assert "too few runs" in text


def test_the_difference_is_analysed_over_runs_and_subjects(frames: Frames) -> None:
    one, other = drawn("a", 0.8, 0), drawn("b", 0.75, 1)
    (found,) = compare(*(of(frames(*one, *other)[0], name) for name in "ab"), frames(*one, *other)[1])
    expected = analyse(
        pd.DataFrame([each["dice"] for each in one]).to_numpy() - pd.DataFrame([each["dice"] for each in other])
    )
    assert found.difference == pytest.approx(expected)
    assert found.difference.readers == 6
    assert corrected([found])[0][1] == "better"


def test_training_sets_are_the_readers_if_there_are_several(frames: Frames) -> None:
    runs, cases = frames(*drawn("a", 0.8, 0, sets=5, folds=2), *drawn("b", 0.8, 1, sets=5, folds=2))
    (found,) = compare(of(runs, "a"), of(runs, "b"), cases)
    assert found.difference.readers == 5
    assert len(found.runs) == 10
    assert "5, 10" in to_markdown([found], 0)


def test_one_bad_run_makes_no_difference_between_strategies(frames: Frames) -> None:
    """The interval over subjects excludes 0 because one of five runs is bad; that over runs includes 0."""
    bad = drawn("b", 0.8, 1, folds=5)
    bad[0]["dice"] = {case: dice - 0.3 for case, dice in bad[0]["dice"].items()}
    runs, cases = frames(*drawn("a", 0.8, 0, folds=5), *bad)
    (found,) = compare(of(runs, "a"), of(runs, "b"), cases)
    assert found.over_cases.low > 0
    assert found.difference.interval()[0] < 0
    assert corrected([found])[0][1] == "undecided"


def test_p_values_are_corrected_for_all_rows_of_the_table(frames: Frames) -> None:
    runs, cases = frames(*drawn("a", 0.8, 0), *drawn("b", 0.795, 1), *drawn("c", 0.79, 2), *drawn("d", 0.8, 3))
    found = [each for other in "bcd" for each in compare(of(runs, "a"), of(runs, other), cases)]
    adjusted = multipletests([each.difference.p for each in found], method="holm")[1]
    assert [p for p, _ in corrected(found)] == pytest.approx(list(adjusted))


def test_what_all_rows_share_stands_in_the_title_only(frames: Frames) -> None:
    elsewhere = {"group": "h", "task": "t", "dataset": "e"}
    runs, cases = frames(
        *drawn("a", 0.8, 0), *drawn("b", 0.795, 1), *drawn("c", 0.79, 2),
        *drawn("a", 0.7, 3, **elsewhere), *drawn("b", 0.7, 4, **elsewhere),
    )  # fmt: skip
    here = runs[runs["group"] != "h"]
    one_board = [each for other in "bc" for each in compare(of(here, "a"), of(here, other), cases)]
    one_other = compare(of(runs, "a"), of(runs, "b"), cases)
    for found, title, rows in (
        (one_board, "a − others, test Dice, d, 25 images, quick", ["b", "c"]),
        (one_other, "a − b, test Dice", ["d, 25 images, quick", "e, 25 images, quick"]),
        ([*one_other, one_board[1]], "a − others, test Dice",
         ["b: d, 25 images, quick", "b: e, 25 images, quick", "c: d, 25 images, quick"]),
    ):  # fmt: skip
        listing = comparison_listing(found)
        assert (listing.title, list(listing.texts["other"])) == (title, rows)
        assert list(listing.values["other"]) == [each.second for each in found]
        assert list(listing.values["leaderboard"]) == [each.title for each in found]
        text = to_markdown(found, 1)
        assert f"### {title}\n" in text
        assert [line for line in text.splitlines() if line.startswith("Cases with")] == [
            f"Cases with the largest differences, {row}:" for row in rows
        ]


def test_strategies_that_differ_in_their_epoch_budget_only_are_compared_and_the_title_says_so(frames: Frames) -> None:
    longer = {"group": "h", "task": "t", "protocol": "quick (max_epochs=9)"}
    runs, cases = frames(*drawn("a", 0.8, 0, task="t"), *drawn("a", 0.7, 1, **longer))
    short, long = (runs[runs["group"] == group] for group in "gh")
    (found,) = compare(short, long, cases)
    assert found.title == "d, 25 images, quick against quick (max_epochs=9) (different epochs)"
    assert found.difference.mean == pytest.approx(0.1, abs=0.02)
    third = runs.iloc[:1].assign(group="i", protocol="quick (max_epochs=20)")
    with pytest.raises(IncomparableError, match=r"'a' has several epoch budgets: quick \(max_epochs=20\), quick \(max"):
        compare(short, pd.concat([long, third]), cases)


def test_two_runs_are_compared_whatever_their_folds_and_have_no_interval_over_runs(frames: Frames) -> None:
    runs, cases = frames(*drawn("a", 0.8, 0, folds=2))
    (found,) = compare(runs.iloc[:1], runs.iloc[1:], cases)
    assert found.first == "a of run r0"
    assert not math.isnan(found.over_cases.low)
    assert math.isnan(found.difference.interval()[0])
    assert len(found.runs) == 1


def test_runs_are_never_compared_with_themselves(frames: Frames) -> None:
    longer = {"group": "h", "task": "t", "protocol": "quick (max_epochs=9)"}
    runs, cases = frames(*drawn("a", 0.8, 0, task="t"), *drawn("a", 0.7, 1, **longer))
    with pytest.raises(IncomparableError, match="both sides are the same runs"):
        compare(runs, runs, cases)
    (found,) = compare(runs, runs[runs["group"] == "h"], cases)
    assert found.difference.mean == pytest.approx(0.1, abs=0.02)
    assert (found.first, found.second) == ("a@quick", "a@quick (max_epochs=9)")


def test_folds_with_different_test_cases_are_refused(frames: Frames) -> None:
    runs, cases = frames(
        *({"strategy": name, "fold": fold, "dice": {f"c{fold}": 0.5}} for name in "ab" for fold in range(5))
    )
    with pytest.raises(IncomparableError, match="the folds have different test cases"):
        compare(of(runs, "a"), of(runs, "b"), cases)


def test_error_of_incomparable_runs_names_what_differs(frames: Frames) -> None:
    runs, cases = frames(
        {"strategy": "a", "dice": {"x": 0.8}},
        {"strategy": "b", "dice": {"x": 0.8}, "group": "h", "protocol": "paper"},
        {"strategy": "c", "dice": {"x": 0.8}, "fold": 1},
        {"strategy": "c", "dice": {"x": 0.8}, "fold": 2},
        {"strategy": "e", "dice": {"y": 0.8}},
    )
    a, b, c, e = (of(runs, name) for name in "abce")
    with pytest.raises(IncomparableError, match="the runs differ in protocol: quick and paper"):
        compare(a, b, cases)
    with pytest.raises(IncomparableError, match="the runs have no training set, fold and seed in common"):
        compare(a, c, cases)
    with pytest.raises(IncomparableError, match="tested on different cases"):
        compare(a, e, cases)
