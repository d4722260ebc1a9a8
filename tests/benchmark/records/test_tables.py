"""Tables of finished runs: damaged records are skipped, and ten thousand records take seconds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.records.tables import read_records

Command = Callable[..., tuple[int, str, str]]


def test_damaged_records_are_skipped_and_reported(
    perform: Callable[..., Summary], make_run: Callable[..., Run], tmp_path: Path
) -> None:
    store, runs = RunStore(tmp_path / "runs"), [make_run("standard"), make_run("stamp", filters_per_step=6)]
    for run in runs:
        perform(run, store)
    cases, record = store.folder(runs[0].spec) / "cases.csv", store.folder(runs[0].spec) / "run.json"
    intact_cases, intact_record = cases.read_bytes(), record.read_text()
    incomplete = {key: value for key, value in json.loads(intact_record).items() if key != "spec"}
    damages = [
        (cases, intact_cases[: len(intact_cases) * 2 // 3], "cases.csv: checksum mismatch"),
        (cases, b"", "cases.csv: checksum mismatch"),
        (cases, None, "cases.csv: No such file"),
        (record, b"{", "run.json: not a record"),
        (record, json.dumps(incomplete).encode(), "run.json: incomplete record: missing spec"),
        (record, json.dumps({**incomplete, "schema": 99}).encode(), "run.json: has schema 99"),
    ]
    for path, content, message in damages:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        problems: list[str] = []
        frame, rows, *_ = read_records(store.root, problems)
        assert list(frame["run"]) == [runs[1].spec.id]
        assert set(rows["run"]) == {runs[1].spec.id}
        assert len(problems) == 1
        assert message in problems[0]
        cases.write_bytes(intact_cases)
        record.write_text(intact_record)
    problems = []
    assert len(read_records(store.root, problems).runs) == 2
    assert problems == []


@pytest.fixture
def ten_thousand(finished_run: Path, tmp_path: Path) -> Path:
    """Store of ten thousand runs, all with the results of one finished run."""
    record = json.loads((finished_run / "run.json").read_text())
    spec = RunSpec.model_validate(record["spec"])
    header, *rows = (finished_run / "cases.csv").read_text().splitlines()
    rows = [f"{copy}_{row}" for copy in range(10) for row in rows[:6]]  # sixty rows: twenty cases of three classes
    table = "\n".join([header, *rows]) + "\n"
    record["files"]["cases.csv"] = hashlib.sha256(table.encode()).hexdigest()
    cases = tmp_path / "cases.csv"
    cases.write_text(table)
    store = RunStore(tmp_path / "many")
    for number in range(10_000):
        copy = spec.model_copy(update={"seed": number % 50, "fold": number // 50 % 5, "n_train": 10 + number // 250})
        folder = store.folder(copy)
        folder.mkdir(parents=True)
        (folder / "cases.csv").hardlink_to(cases)
        (folder / "run.json").write_text(
            json.dumps(record | {"id": copy.id, "group": copy.group, "spec": copy.stored()})
        )
    return store.root


def test_leaderboard_of_ten_thousand_records_takes_seconds(ten_thousand: Path, stampbench: Command) -> None:
    started = time.process_time()
    for path in ten_thousand.rglob("run.json"):
        json.loads(path.read_text())
        (path.parent / "cases.csv").read_bytes()
    files_read = time.process_time()
    code, out, _ = stampbench("leaderboard", "--runs", ten_thousand, "--format", "csv")
    # It takes 5 to 7 times the CPU time of reading the files on a quiet machine, up to 14 times on a busy one.
    assert time.process_time() - files_read < 25 * (files_read - started)
    assert code == 0
    assert len(out.splitlines()) == 41  # forty training sizes
