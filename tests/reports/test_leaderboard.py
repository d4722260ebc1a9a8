"""Leaderboards made from small data frames."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.multi_reader import analyse
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
            {"strategy": "stamp", "fold": 0, "dice": {"a": 0.5, "b": 0.9}, "validation_dice": 0.9},
            {"strategy": "stamp", "fold": 1, "dice": {"a": 0.7, "b": 0.7}, "parameters": 2000, "epochs": 21},
        )
    )
    row = board.rows.iloc[0]
    assert row["dice"] == pytest.approx(0.7)
    assert row["run_sd"] == pytest.approx(0)
    assert list(board.scores["stamp"].mean()) == pytest.approx([0.6, 0.8])
    assert row["validation_dice"] == pytest.approx(0.7)
    assert (row["parameters"], row["epochs"], row["runs"], row["folds"], row["seeds"]) == (1500, 16, 2, 2, 1)


def spread(mean: float, seed: int, subjects: int = 12) -> list[dict[str, float]]:
    """Draw the Dice of six runs."""
    rng = np.random.default_rng(seed)
    return [{f"c{n}": float(x) for n, x in enumerate(rng.normal(mean, 0.01, subjects))} for _ in range(6)]


def several(name: str, runs: list[dict[str, float]], **columns: object) -> list[dict[str, object]]:
    """Return a strategy's runs on consecutive folds."""
    return [{"strategy": name, "fold": fold, "dice": dice, **columns} for fold, dice in enumerate(runs)]


def test_rows_are_ordered_by_dice_and_a_single_run_is_never_decided(frames: Frames) -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "low", "dice": {"a": 0.3, "b": 0.3}},
            {"strategy": "standard", "dice": {"a": 0.8, "b": 0.8}},
            {"strategy": "tie", "dice": {"a": 0.8, "b": 0.8}},
        )
    )
    assert list(board.rows["strategy"]) == ["standard", "tie", "low"]
    assert list(board.rows["tier"]) == [1, 1, 1]
    assert list(board.rows["decision"]) == ["reference", "too few runs", "too few runs"]
    assert list(board.rows["difference"].round(6))[1:] == [0.0, -0.5]
    assert "0.800 (too few runs)" in to_markdown([board])


def test_differences_to_standard_have_the_interval_of_the_analysis_over_runs_and_subjects(frames: Frames) -> None:
    scores = {"standard": spread(0.8, 0), "same": spread(0.8, 1), "bad": spread(0.6, 2)}
    (board,) = leaderboards(*frames(*(run for name, runs in scores.items() for run in several(name, runs))))
    rows = board.rows.set_index("strategy")
    for name in ("same", "bad"):
        table = pd.DataFrame(scores[name]).to_numpy() - pd.DataFrame(scores["standard"]).to_numpy()
        expected = analyse(table)
        row = rows.loc[name]
        assert row["difference"] == pytest.approx(expected.mean)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(expected.interval())
        assert row["p"] == pytest.approx(expected.p)
        assert row["common_runs"] == 6
    assert dict(rows["decision"]) == {"standard": "reference", "same": "equivalent", "bad": "worse"}
    assert dict(rows["tier"]) == {"standard": 1, "same": 1, "bad": 2}
    raw = [rows.loc[name, "p"] for name in ("same", "bad")]
    assert [rows.loc[name, "p_holm"] for name in ("same", "bad")] == pytest.approx(multipletests(raw, method="holm")[1])
    own = analyse(pd.DataFrame(scores["same"]).to_numpy()).interval()
    assert (rows.loc["same", "dice_low"], rows.loc["same", "dice_high"]) == pytest.approx(own)


def test_differences_use_only_runs_that_both_rows_have(frames: Frames) -> None:
    """The second fold of `standard` is ignored; `never_paired` has a fold that `standard` lacks."""
    a, b = random_dice(0, mean=0.8), random_dice(1)
    (board,) = leaderboards(
        *frames(
            {"strategy": "standard", "dice": a},
            {"strategy": "standard", "fold": 1, "dice": dict.fromkeys(a, 0.95)},
            {"strategy": "b", "dice": b},
            {"strategy": "never_paired", "fold": 4, "dice": dict.fromkeys(a, 0.1)},
        )
    )
    rows = board.rows.set_index("strategy")
    assert rows.loc["b", "difference"] == pytest.approx(np.mean([*b.values()]) - np.mean([*a.values()]))
    assert np.isnan(rows.loc["never_paired", "difference"])
    assert rows.loc["never_paired", "decision"] == "no common runs"
    assert any("Δ is over common runs" in note for note in board.notes)


def test_networks_that_are_the_same_in_all_shared_runs_share_a_tier_and_are_not_dominated(frames: Frames) -> None:
    """`stamp` has further runs, which are better; its copy must not fall behind for lacking them."""
    good, usual = spread(0.9, 3), spread(0.7, 4)
    (board,) = leaderboards(
        *frames(
            *several("stamp", [*usual[:5], *good]),
            *several("copy", usual[:5]),
            *several("standard", [*spread(0.7, 5)[:5], *spread(0.9, 6)], parameters=2000),
        )
    )
    rows = board.rows.set_index("strategy")
    assert rows.loc["copy", "tier"] == rows.loc["stamp", "tier"]
    assert rows.loc["copy", "pareto_parameters"] == rows.loc["stamp", "pareto_parameters"]


def test_training_sets_are_counted_and_named(frames: Frames) -> None:
    runs = [
        {"strategy": name, "training_set": number, "seed": seed, "dice": random_dice(10 * number + seed, mean=0.8)}
        for name in ("standard", "a")
        for number in range(5)
        for seed in range(2)
    ]
    (board,) = leaderboards(*frames(*runs))
    assert "5 draws of the training images, which overlap where the pool is small." in board.notes
    assert "5 × 1 × 2" in to_markdown([board])
    (one,) = leaderboards(*frames(*runs[:2]))
    assert "One draw of the training images: variation between draws is not included." in one.notes


def test_notes_say_whether_strategies_are_separated_and_anything_is_learnt(frames: Frames) -> None:
    """Means .3 and .31 with runs of sd .0141: the ratio is .0071/.0141 = .5."""
    (board,) = leaderboards(
        *frames(
            {"strategy": "a", "dice": {"x": 0.31, "y": 0.31}},
            {"strategy": "a", "fold": 1, "dice": {"x": 0.29, "y": 0.29}},
            {"strategy": "b", "dice": {"x": 0.32, "y": 0.32}},
            {"strategy": "b", "fold": 1, "dice": {"x": 0.3, "y": 0.3}},
        )
    )
    text = " ".join(board.notes)
    assert (
        "A single run does not separate strategies here: the standard deviation between strategies is 0.50 times"
        in text
    )
    assert "No strategy reaches Dice 0.5" in text


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


def test_each_group_has_its_own_leaderboard(frames: Frames) -> None:
    boards = leaderboards(
        *frames(
            {"strategy": "stamp", "dice": {"a": 0.5}},
            {"strategy": "stamp", "dice": {"a": 0.6}, "group": "other", "protocol": "paper"},
        )
    )
    assert [len(board.rows) for board in boards] == [1, 1]
    assert {board.title.rsplit(" ", 1)[1] for board in boards} == {"paper", "quick"}


def test_the_rate_of_empty_masks_is_reported(frames: Frames) -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "a", "dice": {"x": 0.1, "y": 0.5}},
            {"strategy": "b", "dice": {"x": 0.5, "y": 0.5}, "fold": 1},
        )
    )
    assert dict(zip(board.rows["strategy"], board.rows["empty_rate"], strict=True)) == {"a": 0.25, "b": 0}
    assert "25.0%" in to_markdown([board])


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
    assert "0.600 (too few runs)" in markdown
    table = pd.read_csv(StringIO(to_csv(boards)))
    assert list(table["strategy"]) == ["a_1", "b"]
    assert [row["strategy"] for row in json.loads(to_json(boards))["boards"][0]["rows"]] == ["a_1", "b"]
    latex = to_latex(boards)
    assert r"a\_1" in latex
    assert latex.count(r"\toprule") == latex.count(r"\end{table}") == 1


def test_distances_to_empty_masks_are_empty_in_every_format(frames: Frames) -> None:
    boards = leaderboards(*frames({"strategy": "a", "dice": {"x": 0.05, "y": 0.05}}))
    assert boards[0].rows["hd95_p90"].iloc[0] == np.inf
    assert "2.00, empty" in to_markdown(boards)
    assert json.loads(to_json(boards))["boards"][0]["rows"][0]["hd95_p90"] == "empty"
    assert pd.read_csv(StringIO(to_csv(boards)))["hd95_p90"].iloc[0] == np.inf
    assert r"$\Delta$" in to_latex(boards)


def test_the_mean_is_that_of_training_sets_however_many_runs_they_have(frames: Frames) -> None:
    """Set 0 has three runs of Dice .9, sets 1 to 4 have one of .5: the mean is .58, inside its interval."""
    runs = [{"strategy": "a", "seed": seed, "dice": {"x": 0.9, "y": 0.9}} for seed in range(3)]
    runs += [{"strategy": "a", "training_set": number, "dice": {"x": 0.5, "y": 0.5}} for number in range(1, 5)]
    (board,) = leaderboards(*frames(*runs))
    row = board.rows.iloc[0]
    assert row["dice"] == pytest.approx(0.58)
    assert row["dice_low"] < 0.58 < row["dice_high"]


def test_rows_tested_on_other_cases_are_not_compared(frames: Frames) -> None:
    (board,) = leaderboards(
        *frames({"strategy": "standard", "dice": {"x": 0.5, "y": 0.5}}, {"strategy": "b", "dice": {"x": 0.5}})
    )
    assert dict(zip(board.rows["strategy"], board.rows["decision"], strict=True))["b"] == "other test cases"
    assert any("not tested on all cases" in note for note in board.notes)


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


def test_folds_of_a_cross_validation_are_one_run_each_over_all_subjects(frames: Frames) -> None:
    """The same scores as five held-out runs over four subjects, split into two folds that test two subjects each."""
    rng = np.random.default_rng(1)
    whole, folds = [], []
    for name, seed in itertools.product(("standard", "stamp"), range(5)):
        dice = {subject: float(value) for subject, value in zip("stuv", rng.uniform(0.6, 0.9, 4), strict=True)}
        whole.append({"strategy": name, "seed": seed, "dice": dice})
        for fold, tested in enumerate(("st", "uv")):
            part = {subject: dice[subject] for subject in tested}
            folds.append({"strategy": name, "seed": seed, "fold": fold, "split": "cross_validation", "dice": part})
    (expected,), (found,) = leaderboards(*frames(*whole)), leaderboards(*frames(*folds))
    same = ["strategy", "dice", "dice_low", "dice_high", "difference", "difference_low", "difference_high", "decision",
            "common_runs", "tier", "pareto_parameters"]  # fmt: skip
    pd.testing.assert_frame_equal(found.rows[same], expected.rows[same])
    assert found.rows["runs"].tolist() == [10, 10]
    assert any(note.startswith("Cross-validation") for note in found.notes)
    assert not any("not tested on all cases" in note for note in found.notes)
