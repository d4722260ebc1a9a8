"""Published tables: rerun commands, leaderboards and merging."""

from __future__ import annotations

import multiprocessing
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from stampbench.benchmark.records.publish import publish
from stampbench.benchmark.records.tables import read_records

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


def publish_part(part: Path) -> None:
    publish(part, part.parent / "tables", [])


def test_publications_at_the_same_time_lose_no_rows(recorded_runs: Any, tmp_path: Path) -> None:
    folders = sorted(path.parent for path in recorded_runs.runs.glob("*/*/*/run.json"))
    parts = [tmp_path / f"part{number}" for number in range(4)]
    for number, part in enumerate(parts):
        for folder in folders[number::4]:
            shutil.copytree(folder, part / folder.relative_to(recorded_runs.runs))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=publish_part, args=(part,)) for part in parts]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert set(pd.read_csv(tmp_path / "tables" / "runs.csv")["run"]) == {folder.name for folder in folders}
    publish(recorded_runs.runs, tmp_path / "at once", [])
    for path in (tmp_path / "at once").iterdir():
        assert (tmp_path / "tables" / path.name).read_text() == path.read_text(), path.name


def test_publication_that_is_killed_at_any_step_is_completed_by_the_next_one(
    copied_runs: Any, killed_before: Callable[..., bool], tmp_path: Path
) -> None:
    publish(copied_runs.runs, tmp_path / "complete", [])
    (tmp_path / "later").mkdir()
    (later,) = {path.parent for path in copied_runs.runs.glob("*/retrain_scratch/*")}
    shutil.move(later, tmp_path / "later" / later.name)
    publish(copied_runs.runs, tmp_path / "before", [])
    shutil.move(tmp_path / "later" / later.name, later)
    number, killed = 0, True
    counts = set()
    while killed:
        shutil.rmtree(tmp_path / "tables", ignore_errors=True)
        shutil.copytree(tmp_path / "before", tmp_path / "tables")
        killed = killed_before(number, lambda: publish(copied_runs.runs, tmp_path / "tables", []))
        problems: list[str] = []
        counts.add(len(read_records(tmp_path / "tables", problems).runs))
        assert problems == [], "whoever reads the tables after the kill"
        number += 3 if killed else 0
        publish(copied_runs.runs, tmp_path / "tables", [])
        for path in (tmp_path / "complete").iterdir():
            assert (tmp_path / "tables" / path.name).read_text() == path.read_text(), path.name
    assert counts == {10, 12}


def test_folder_that_cannot_be_written_is_an_error(recorded_runs: Any, stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in ("file", "file/tables", "a" * 300):
        code, _, err = stampbench("publish", "--runs", recorded_runs.runs, "--output", output)
        assert (code, err.count("\n")) == (2, 1)
        assert f"cannot write {output}" in err


def test_tables_that_were_cut_off_are_not_read_as_if_they_were_whole(recorded_runs: Any, stampbench: Command) -> None:
    assert stampbench("publish", "--runs", recorded_runs.runs, "--output", "tables")[0] == 0
    cases, runs = Path("tables/cases.csv"), Path("tables/runs.csv")
    whole = cases.read_text().splitlines(keepends=True)
    last = whole[-1].split(",")[0]
    cases.write_text("".join(whole[:-1]))
    code, _, err = stampbench("leaderboard", "--runs", "tables")
    number = sum(line.startswith(f"{last},") for line in whole)
    assert (code, err) == (0, f"warning: skipped: run {last}: has {number - 1} of {number} scores\n")
    cases.write_text("".join(whole))
    for content in ("", runs.read_text().splitlines(keepends=True)[0]):
        runs.write_text(content)
        for words in (
            ["leaderboard", "--runs", "tables"],
            ["publish", "--runs", recorded_runs.runs, "--output", "tables"],
        ):
            code, _, err = stampbench(*words)
            assert code == 2
            assert "tables/runs.csv: has no runs, but cases.csv has cases; the file may be truncated" in err
        assert runs.read_text() == content
