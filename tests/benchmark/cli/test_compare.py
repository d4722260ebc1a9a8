"""The command `stampbench compare`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_strategies_and_runs_are_compared(recorded_runs: Any, stampbench: Command) -> None:
    first, second = recorded_runs.label("standard"), recorded_runs.label("stamp_plus")
    code, out, _ = stampbench("compare", first, second, "--runs", recorded_runs.runs)
    assert code == 0
    runs = recorded_runs.table()
    rows, others = (runs[runs["strategy"] == label].sort_values("fold") for label in (first, second))
    expected = rows["test_dice"].mean() - others["test_dice"].mean()
    assert f"{expected:+.4f}" in out
    ids = list(rows["run"])
    code, out, _ = stampbench("compare", ids[0][:9], ids[1], "--runs", recorded_runs.runs)
    assert code == 0
    assert f"{first} of run {ids[0]} − {first} of run {ids[1]}" in out


def test_explanation_of_the_columns_can_be_left_out(recorded_runs: Any, stampbench: Command) -> None:
    words = [recorded_runs.label("standard"), recorded_runs.label("stamp_plus"), "--runs", recorded_runs.runs]
    whole, short = (stampbench("compare", *words, *options)[1] for options in ((), ("--no-notes",)))
    (notes,) = [line for line in whole.splitlines() if line.startswith("Differences are paired by")]
    assert short == whole.replace(f"{notes}\n\n", "")
    assert "Cases with the largest differences" in short


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["standard", "stamp_plus"], "unknown strategy or run 'standard'"),
        (["", "standard"], "unknown strategy or run ''"),
    ],
)
def test_unknown_strategies_are_refused(
    words: list[object], message: str, recorded_runs: Any, stampbench: Command
) -> None:
    code, _, err = stampbench("compare", *words, "--runs", recorded_runs.runs)
    assert code == 2
    assert message in err
