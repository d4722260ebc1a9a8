"""Published tables: rerun commands, leaderboards and merging."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

Command = Callable[..., tuple[int, str, str]]


def test_published_commands_plan_the_same_runs(recorded_runs: Any, stampbench: Command) -> None:
    code, _, err = stampbench("publish", "--runs", recorded_runs.runs, "--output", "tables")
    assert code == 0, err
    runs = pd.read_csv("tables/runs.csv")
    assert len(runs) == 12
    for row in runs.to_dict("records"):
        words = shlex.split(row["command"])
        assert words[0] == "stampbench"
        options = ("--runs", recorded_runs.runs, "--data-root", recorded_runs.data)
        code, out, err = stampbench(*words[1:], *options, "--dry-run")
        assert code == 0, err
        assert re.search(rf"{row['run']} .*cached", out), out


def test_published_tables_give_the_same_leaderboards_and_merge(copied_runs: Any, stampbench: Command) -> None:
    from_store = stampbench("leaderboard", "--runs", copied_runs.runs)[1]
    (copied_runs.runs.parent / "later").mkdir()
    (later,) = {path.parent for path in copied_runs.runs.glob("*/retrain_scratch/*")}
    shutil.move(later, copied_runs.runs.parent / "later" / later.name)
    assert stampbench("publish", "--runs", copied_runs.runs, "--output", "tables")[0] == 0
    shutil.move(copied_runs.runs.parent / "later" / later.name, later)
    before = Path("tables/runs.csv").read_text()
    assert stampbench("publish", "--runs", copied_runs.runs, "--output", "tables")[0] == 0
    assert len(Path("tables/runs.csv").read_text().splitlines()) == len(before.splitlines()) + 2
    assert stampbench("leaderboard", "--runs", "tables")[1] == from_store == Path("tables/boards.md").read_text()
    published = {path.name: path.read_bytes() for path in Path("tables").iterdir()}
    assert stampbench("publish", "--runs", copied_runs.runs, "--output", "tables")[0] == 0
    assert published == {path.name: path.read_bytes() for path in Path("tables").iterdir()}, (
        "publishing twice changes the tables"
    )


def test_tables_without_the_younger_columns_give_the_same_leaderboards(recorded_runs: Any, stampbench: Command) -> None:
    assert stampbench("publish", "--runs", recorded_runs.runs, "--output", "tables")[0] == 0
    path, before = Path("tables/runs.csv"), stampbench("leaderboard", "--runs", "tables")[1]
    runs = pd.read_csv(path)
    runs.drop(columns=["training_set", "equivalence_margin", "task"]).to_csv(path, index=False)
    assert stampbench("leaderboard", "--runs", "tables")[1] == before
    runs.assign(
        task=runs["task"].where(runs.index > 3), training_set=runs["training_set"].where(runs.index > 3)
    ).to_csv(path, index=False)
    assert stampbench("leaderboard", "--runs", "tables")[1] == before
