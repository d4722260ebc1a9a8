"""Budgets, the answer of a leaderboard, and the table that fits a terminal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.reports.board_columns import board_listing
from stampbench.reports.budget import Budget, answer, short, within
from stampbench.reports.leaderboard import Board, leaderboards

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Timings = Callable[..., pd.DataFrame]


def board(frames: Frames, timings: Timings, gain: float = 0.0) -> Board:
    """Return a leaderboard of six runs each of `standard`, `small` and `large`; `large` is better by `gain`."""
    rng, runs = np.random.default_rng(0), []
    for seed in range(6):
        dice = rng.uniform(0.7, 0.8, 8)
        for name, size, more in (("standard", 100_000, 0.0), ("small", 5_000, 0.0005), ("large", 20_000, gain)):
            scores = dice + more + rng.normal(0, 0.01, 8)
            runs.append(
                {"strategy": name, "seed": seed, "parameters": size, "epochs": 76,
                 "dice": {f"s{number}": each for number, each in enumerate(scores)}}
            )  # fmt: skip
    table, cases = frames(*runs)
    first = {name: table.loc[table["strategy"] == name, "run"].iloc[0] for name in ("standard", "small")}
    times = timings((first["standard"], "fast", 1.0), (first["small"], "fast", 0.8))
    (found,) = leaderboards(table, cases, times)
    return found


def test_strategies_with_too_few_runs_are_only_counted(frames: Frames, timings: Timings) -> None:
    found = board(frames, timings)
    few = found.rows["strategy"] == "large"
    rows = found.rows.assign(dice_low=found.rows["dice_low"].mask(few))
    limit = Budget(parameters=20_000)
    assert answer(found._replace(rows=rows), limit) == "Up to 20 k parameters: small. 1 more has too few runs."
    none = found._replace(rows=rows.assign(dice_low=np.nan))
    assert answer(none, limit) == "Up to 20 k parameters: small, large; not separated. Too few runs to decide."


def test_more_strategies_than_a_sentence_holds_are_counted(frames: Frames, timings: Timings) -> None:
    found = board(frames, timings)
    rows = pd.concat([found.rows.assign(strategy=found.rows["strategy"] + each) for each in ("", "2", "3")])
    many = found._replace(rows=rows.reset_index(drop=True).assign(tier=1))
    expected = "Best: 9 strategies, not separated; the smallest is small (5.00 k parameters)."
    assert answer(many, Budget()) == expected


def test_strategies_of_the_best_tier_within_the_budget_are_named(frames: Frames, timings: Timings) -> None:
    equal, better = board(frames, timings), board(frames, timings, gain=0.1)
    assert answer(equal, Budget(parameters=20_000)) == "Up to 20 k parameters: small, large; not separated."
    assert answer(better, Budget(parameters=20_000)) == "Up to 20 k parameters: large."
    assert answer(better, Budget(20_000, latency=0.9)) == "Up to 20 k parameters and 0.9 × latency: small."
    assert answer(better, Budget()) == "Best: large."
    assert list(within(better, Budget(parameters=6_000)).rows["strategy"]) == ["small"]


def test_budget_that_nothing_fits_names_the_nearest(frames: Frames, timings: Timings) -> None:
    found = board(frames, timings)
    assert answer(found, Budget(parameters=999)) == (
        "Up to 999 parameters: no strategy. The least is 5.00 k parameters (small)."
    )
    assert (
        answer(found, Budget(latency=0.5)) == "Up to 0.5 × latency: no strategy. The least is 0.80 × latency (small)."
    )


def test_nothing_is_recommended_where_nothing_is_learnt(frames: Frames) -> None:
    runs, cases = frames({"strategy": "standard", "dice": {"a": 0.3}}, {"strategy": "stamp", "dice": {"a": 0.4}})
    (found,) = leaderboards(runs, cases)
    assert "too little is learnt" in answer(found, Budget(epochs=100))


def test_the_short_columns_are_seven(frames: Frames, timings: Timings) -> None:
    text = board_listing(board(frames, timings, gain=0.1)).arranged(short=True).texts.set_index("strategy")
    assert list(text) == ["dice", "difference", "parameters", "latency_ratio", "epochs", "runs"]
    assert text.loc["large", "difference"].endswith(" better")
    assert text.loc["large", ["parameters", "latency_ratio", "epochs", "runs"]].tolist() == ["20.0 k", "–", "76", "6"]
    assert text.loc["standard", "difference"] == "reference"
    assert text.loc["small", "latency_ratio"] == "0.80"


@given(st.floats(1, 1e14))
def test_short_numbers_have_three_digits_and_are_near(number: float) -> None:
    text = short(number)
    value, _, unit = text.partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
    if unit:
        assert float(value) * factor == pytest.approx(number, rel=0.0051)
        assert unit == "T" or 1 <= float(value) < 1000
        assert unit == "T" or len(value.replace(".", "")) == 3
