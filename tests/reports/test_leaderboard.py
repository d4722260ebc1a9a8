"""Leaderboards and overall rankings made from small data frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.mean_rank import overall_ranking
from stampbench.reports.statistics import half_width, mean_ranks
from stampbench.reports.table_formats import to_csv, to_json, to_latex, to_markdown

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Timings = Callable[..., pd.DataFrame]


def random_dice(seed: int, cases: int = 12, mean: float = 0.7) -> dict[str, float]:
    """Draw a Dice for each case."""
    rng = np.random.default_rng(seed)
    return {f"c{number}": float(value) for number, value in enumerate(rng.normal(mean, 0.05, cases))}


def test_folds_are_averaged_per_case_before_the_mean(frames: Frames) -> None:
    """The cases have Dice (0.5 + 0.7)/2 and (0.9 + 0.7)/2, so the mean is 0.7; the mean of each run is 0.7, too."""
    (board,) = leaderboards(
        *frames(
            {"strategy": "stamp", "fold": 0, "dice": {"a": 0.5, "b": 0.9}},
            {"strategy": "stamp", "fold": 1, "dice": {"a": 0.7, "b": 0.7}, "parameters": 2000, "epochs": 21},
        )
    )
    row = board.rows.iloc[0]
    assert row["dice"] == pytest.approx(0.7)
    assert row["run_sd"] == pytest.approx(0)
    assert list(board.per_case["stamp"]) == pytest.approx([0.6, 0.8])
    assert (row["parameters"], row["epochs"], row["runs"], row["folds"], row["seeds"]) == (1500, 16, 2, 2, 1)


def test_ranks_follow_dice_and_ties_share_a_rank(frames: Frames) -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "low", "dice": {"a": 0.3, "b": 0.3}},
            {"strategy": "high", "dice": {"a": 0.8, "b": 0.8}},
            {"strategy": "tie", "dice": {"a": 0.8, "b": 0.8}},
        )
    )
    assert list(board.rows["rank"]) == [1, 1, 3]
    assert board.rows["strategy"].iloc[-1] == "low"
    assert board.rows["p_holm"].iloc[1] == 1.0, "equal scores have p = 1"


def test_p_values_are_those_of_wilcoxon_against_the_first_row_corrected_by_holm(frames: Frames) -> None:
    means = {"a": 0.8, "b": 0.78, "c": 0.7}
    scores = {name: random_dice(seed, mean=mean) for seed, (name, mean) in enumerate(means.items())}
    (board,) = leaderboards(*frames(*({"strategy": name, "dice": dice} for name, dice in scores.items())))
    best, *others = board.rows["strategy"]
    raw = [
        stats.wilcoxon(np.array([*scores[best].values()]) - np.array([*scores[other].values()])).pvalue
        for other in others
    ]
    assert list(board.rows["p_holm"])[1:] == pytest.approx(multipletests(raw, method="holm")[1])
    assert np.isnan(board.rows["p_holm"].iloc[0])


def test_p_values_use_only_folds_and_seeds_that_both_rows_have(frames: Frames) -> None:
    """The second fold of `a` is ignored in the test against `b`, which has the first fold only."""
    a, b = random_dice(0, mean=0.8), random_dice(1)
    (board,) = leaderboards(
        *frames(
            {"strategy": "a", "dice": a},
            {"strategy": "a", "fold": 1, "dice": dict.fromkeys(a, 0.95)},
            {"strategy": "b", "dice": b},
            {"strategy": "never_paired", "fold": 4, "dice": dict.fromkeys(a, 0.1)},
        )
    )
    expected = stats.wilcoxon(np.array([*a.values()]) - np.array([*b.values()])).pvalue
    p_values = dict(zip(board.rows["strategy"], board.rows["p_holm"], strict=True))
    assert p_values["b"] == pytest.approx(expected)
    assert np.isnan(p_values["never_paired"])
    assert any("ranks are not a paired comparison" in note for note in board.notes)


def test_pareto_marks_are_set_for_parameters_and_latency(frames: Frames, timings: Timings) -> None:
    runs, cases = frames(
        {"strategy": "standard", "dice": {"a": 0.8, "b": 0.8}, "parameters": 100},
        {"strategy": "small", "dice": {"a": 0.7, "b": 0.7}, "parameters": 10},
        {"strategy": "beaten", "dice": {"a": 0.6, "b": 0.6}, "parameters": 10},
    )
    (board,) = leaderboards(runs, cases, timings(("r0", "eager", 10.0), ("r1", "eager", 20.0), ("r2", "eager", 5.0)))
    rows = board.rows.set_index("strategy")
    assert dict(rows["pareto_parameters"]) == {"standard": True, "small": True, "beaten": False}
    assert dict(rows["latency_ratio"]) == {"standard": 1.0, "small": 2.0, "beaten": 0.5}
    assert dict(rows["pareto_latency"]) == {"standard": True, "small": False, "beaten": True}
    assert any("eager backend, one image, interleaved timing" in note for note in board.notes)


def test_timings_of_two_machines_or_sessions_are_not_mixed(frames: Frames, timings: Timings) -> None:
    runs, cases = frames(
        {"strategy": "standard", "dice": {"a": 0.8}},
        {"strategy": "small", "dice": {"a": 0.7}},
        {"strategy": "other", "dice": {"a": 0.7}},
    )
    here = timings(("r0", "eager", 10.0), ("r1", "eager", 5.0), ("r2", "eager", 4.0))
    there = timings(("r0", "eager", 1.0), ("r1", "eager", 3.0), processor="another")
    (board,) = leaderboards(runs, cases, pd.concat([here, there]))
    assert dict(board.rows.set_index("strategy")["latency_ratio"]) == {"standard": 1.0, "small": 0.5, "other": 0.4}
    assert any("timings from other machines are skipped: another" in note for note in board.notes)
    later = timings(("r0", "eager", 30.0), ("r2", "eager", 30.0), measured="two")
    (board,) = leaderboards(runs, cases, pd.concat([here.iloc[:2], later]))
    assert dict(board.rows.set_index("strategy")["latency_ratio"]) == {"standard": 1.0, "small": 0.5, "other": 1.0}
    (board,) = leaderboards(runs, cases, timings(("r1", "eager", 5.0)))
    assert board.rows["latency_ratio"].isna().all(), "there is no ratio without timings of the standard network"
    assert "latency" not in to_markdown([board]).split("\n\n")[1]


def test_each_group_has_its_own_leaderboard(frames: Frames) -> None:
    boards = leaderboards(
        *frames(
            {"strategy": "stamp", "dice": {"a": 0.5}},
            {"strategy": "stamp", "dice": {"a": 0.6}, "group": "other", "protocol": "paper"},
        )
    )
    assert [len(board.rows) for board in boards] == [1, 1]
    assert {board.title.rsplit(" ", 1)[1] for board in boards} == {"paper", "quick"}


def test_empty_masks_are_counted(frames: Frames) -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "a", "dice": {"x": 0.1, "y": 0.5}},
            {"strategy": "b", "dice": {"x": 0.5, "y": 0.5}, "fold": 1},
        )
    )
    assert dict(zip(board.rows["strategy"], board.rows["empty"], strict=True)) == {"a": 1, "b": 0}


def test_title_and_notes_name_synthetic_data(frames: Frames) -> None:
    (board,) = leaderboards(*frames({"strategy": "a", "dice": {"x": 0.5}, "synthetic": True}))
    assert "synthetic" in board.title
    assert "no evidence about patients" in board.notes[0]


def test_all_formats_have_the_same_rows(frames: Frames) -> None:
    boards = leaderboards(
        *frames({"strategy": "a_1", "dice": {"x": 0.5, "y": 0.7}}, {"strategy": "b", "dice": {"x": 0.2, "y": 0.4}})
    )
    markdown = to_markdown(boards)
    assert "| a_1 " in markdown
    assert "0.600 (" in markdown
    table = pd.read_csv(StringIO(to_csv(boards)))
    assert list(table["strategy"]) == ["a_1", "b"]
    assert [row["strategy"] for row in json.loads(to_json(boards))["boards"][0]["rows"]] == ["a_1", "b"]
    latex = to_latex(boards)
    assert r"a\_1" in latex
    assert latex.count(r"\toprule") == latex.count(r"\end{table}") == 1


def test_no_runs_give_no_leaderboards() -> None:
    assert leaderboards(pd.DataFrame(), pd.DataFrame()) == []
    assert (to_markdown([]), to_csv([]), to_latex([])) == ("", "", "")
    assert json.loads(to_json([])) == {"boards": [], "overall": []}


def test_one_case_has_no_interval(frames: Frames) -> None:
    boards = leaderboards(*frames({"strategy": "a", "dice": {"x": 0.5}}, {"strategy": "b", "dice": {"x": 0.5}}))
    assert "nan" not in to_markdown(boards)
    text = to_json(boards)
    assert "NaN" not in text
    assert json.loads(text)["boards"][0]["rows"][0]["dice_low"] is None


def runs_of(frames: Frames, dataset: str, **scores: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build runs and cases of one dataset from the Dice of each strategy by case."""
    runs, cases = frames(*({"strategy": n, "dice": d, "dataset": dataset, "group": dataset} for n, d in scores.items()))
    prefix = {run: f"{dataset}{run}" for run in runs["run"]}
    return runs.replace({"run": prefix}), cases.replace({"run": prefix})


def test_overall_ranks_within_cases_and_weights_datasets_equally(frames: Frames) -> None:
    """Ranks in the two cases of dataset one: a 1, 1; b 2, 2. In the four of dataset two: a 2, 2, 2, 1; b 1, 1, 1, 2."""
    one = runs_of(frames, "one", a={"x": 0.9, "y": 0.9}, b={"x": 0.1, "y": 0.1}, only_here={"x": 0.5, "y": 0.5})
    a, b = {"p": 0.1, "q": 0.1, "r": 0.1, "s": 0.9}, dict.fromkeys("pqrs", 0.5)
    two = runs_of(frames, "two", a=a, b=b)
    boards = leaderboards(pd.concat([one[0], two[0]]), pd.concat([one[1], two[1]]))
    (ranking,) = overall_ranking(boards)
    rows = ranking.rows.set_index("strategy")
    assert dict(rows["mean_rank"]) == {"a": pytest.approx((1 + 1.75) / 2), "b": pytest.approx((2 + 1.25) / 2)}
    assert rows.loc["a", "low"] <= rows.loc["a", "mean_rank"] <= rows.loc["a", "high"]
    assert rows["first"].sum() == pytest.approx(1)
    assert any("only_here" in note for note in ranking.notes)
    assert "mean rank (95 %)" in to_markdown(boards, [ranking])


def test_datasets_are_resampled_independently_and_ties_share_the_first_place(frames: Frames) -> None:
    """With independent resamples of two equally large datasets, the mean has a spread √2 smaller than one dataset."""
    scores = {f"c{n}": 0.5 + 0.4 * (n % 2) for n in range(20)}
    flat = dict.fromkeys(scores, 0.7)
    boards = []
    for name in ("one", "two"):
        boards += leaderboards(*runs_of(frames, name, a=scores, b=flat, c=flat))
    (ranking,) = overall_ranking(boards)
    rows = ranking.rows.set_index("strategy")
    assert rows.loc["b", "first"] == pytest.approx(rows.loc["c", "first"])
    _, resampled = mean_ranks(boards[0].per_case, boards[0].subjects)
    expected = half_width(resampled, 20)[0] / 2**0.5
    assert (rows.loc["a", "high"] - rows.loc["a", "low"]) / 2 == pytest.approx(expected, rel=0.05)


def test_one_dataset_or_two_versions_of_it_give_no_overall_ranking(frames: Frames) -> None:
    one = runs_of(frames, "one", a={"x": 0.9}, b={"x": 0.1})
    assert overall_ranking(leaderboards(*one)) == []
    later = (
        one[0].assign(group="later", dataset_version="2", run="l" + one[0]["run"]),
        one[1].assign(run="l" + one[1]["run"]),
    )
    both = leaderboards(pd.concat([one[0], later[0]]), pd.concat([one[1], later[1]]))
    assert len(both) == 2
    assert overall_ranking(both) == []
