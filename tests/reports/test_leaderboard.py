"""Leaderboards from frames made by hand."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pandas as pd
import pytest

from stampbench.reports.leaderboard import leaderboards, to_csv, to_json, to_markdown


def frames(*runs: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs with `dice` per case as a dict; each case has two classes, 0.1 above and below it."""
    rows, cases = [], []
    for number, run in enumerate(runs):
        scores = run.pop("dice")
        rows.append(
            {
                "run": f"r{number}",
                "group": "g",
                "dataset": "d",
                "dataset_version": "1",
                "data_checksum": "abcdef0123",
                "synthetic": False,
                "unit": "mm",
                "protocol": "quick",
                "n_train": 25,
                "fold": 0,
                "seed": 0,
                "parameters": 1000,
                "flops": 2000,
                "epochs": 10,
                "ranking_passes": 1,
                **run,
            }
        )
        for case, dice in scores.items():
            for name, offset in (("left", 0.1), ("right", -0.1)):
                empty = "prediction" if dice + offset <= 0 else ""
                cases.append(
                    {
                        "run": f"r{number}",
                        "case": case,
                        "class": name,
                        "dice": dice + offset,
                        "hd95": 2.0,
                        "empty": empty,
                    }
                )
    return pd.DataFrame(rows), pd.DataFrame(cases)


def test_folds_are_averaged_per_case_before_mean_and_sd() -> None:
    """Cases (0.5 + 0.7)/2 and (0.9 + 0.7)/2: mean 0.7, sd 0.1·√2; pooled over folds it would be 0.163."""
    (board,) = leaderboards(
        *frames(
            {"strategy": "stamp", "fold": 0, "dice": {"a": 0.5, "b": 0.9}},
            {"strategy": "stamp", "fold": 1, "dice": {"a": 0.7, "b": 0.7}, "parameters": 2000, "epochs": 21},
        )
    )
    row = board.rows.iloc[0]
    assert row["Dice"] == pytest.approx(0.7)
    assert row["sd"] == pytest.approx(0.1 * 2**0.5)
    assert (row["parameters"], row["epochs"], row["runs"]) == (1500, 16, 2)


def test_ranks_go_by_dice() -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "low", "dice": {"a": 0.3, "b": 0.3}},
            {"strategy": "high", "dice": {"a": 0.8, "b": 0.8}},
            {"strategy": "tie", "dice": {"a": 0.8, "b": 0.8}},
        )
    )
    assert list(board.rows["rank"]) == [1, 1, 3]
    assert board.rows["strategy"].iloc[-1] == "low"


def test_groups_never_share_a_table() -> None:
    boards = leaderboards(
        *frames(
            {"strategy": "stamp", "dice": {"a": 0.5}},
            {"strategy": "stamp", "dice": {"a": 0.6}, "group": "other", "protocol": "paper"},
        )
    )
    assert [len(board.rows) for board in boards] == [1, 1]
    assert {board.title.rsplit(" ", 1)[1] for board in boards} == {"paper", "quick"}


def test_empty_masks_are_counted_and_unpaired_designs_are_said() -> None:
    (board,) = leaderboards(
        *frames(
            {"strategy": "a", "dice": {"x": 0.1, "y": 0.5}},
            {"strategy": "b", "dice": {"x": 0.5, "y": 0.5}, "fold": 1},
        )
    )
    assert dict(zip(board.rows["strategy"], board.rows["empty"], strict=True)) == {"a": 1, "b": 0}
    assert any("not paired" in note for note in board.notes)


def test_synthetic_data_is_said_in_title_and_notes() -> None:
    (board,) = leaderboards(*frames({"strategy": "a", "dice": {"x": 0.5}, "synthetic": True}))
    assert "synthetic" in board.title
    assert "no evidence about patients" in board.notes[0]


def test_formats_hold_the_same_rows() -> None:
    boards = leaderboards(
        *frames({"strategy": "a", "dice": {"x": 0.5, "y": 0.7}}, {"strategy": "b", "dice": {"x": 0.2, "y": 0.4}})
    )
    markdown = to_markdown(boards)
    assert "| a " in markdown
    assert "0.600 ± 0.141" in markdown
    table = pd.read_csv(StringIO(to_csv(boards)))
    assert list(table["strategy"]) == ["a", "b"]
    assert [row["strategy"] for row in json.loads(to_json(boards))[0]["rows"]] == ["a", "b"]


def test_nothing_recorded_makes_no_board() -> None:
    assert leaderboards(pd.DataFrame(), pd.DataFrame()) == []
    assert (to_markdown([]), to_csv([]), to_json([])) == ("", "", "[]\n")


def test_one_case_has_no_spread() -> None:
    boards = leaderboards(*frames({"strategy": "a", "dice": {"x": 0.5}}))
    assert "nan" not in to_markdown(boards)
    text = to_json(boards)
    assert "NaN" not in text
    assert json.loads(text)[0]["rows"][0]["sd"] is None
