"""Verification of stores with `stampbench store check`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record

Command = Callable[..., tuple[int, str, str]]


def check_store(stampbench: Command, code: int) -> list[str]:
    """Check the store, assert the command's exit code, and return its lines."""
    returned, out, _ = stampbench("store", "check")
    assert returned == code, out
    return out.splitlines()


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content of a `run.json`."""
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


def rewrite_architecture(folder: Path) -> None:
    """Write the same architecture with another indentation: valid, but not the recorded file."""
    path = folder / "model" / "architecture.json"
    architecture = json.loads(path.read_text())
    path.write_text(json.dumps(architecture, indent=3))


def test_intact_store_is_reported_as_finished(finished_run: Path, stampbench: Command) -> None:
    assert check_store(stampbench, 0) == ["1 finished"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "run.json").write_text('{"schema": 3, "sta'), "not a record; it may be truncated"),
        (lambda folder: (folder / "cases.csv").write_text("case,dice\n"), "cases.csv: checksum mismatch"),
        (lambda folder: (folder / "trajectory.csv").unlink(), "trajectory.csv: No such file"),
        (
            lambda folder: (folder / "model" / "weights.safetensors").write_bytes(b"x"),
            "weights.safetensors: checksum mismatch",
        ),
        (rewrite_architecture, "architecture.json: checksum mismatch"),
        (lambda folder: edit(folder, lambda record: record.pop("summary")), "incomplete record: missing summary"),
        (lambda folder: edit(folder, lambda record: record["spec"].update(seed=7)), "but its spec gives"),
        (
            lambda folder: edit(folder, lambda record: record.update(group="0" * 12)),
            "000000000000, but its spec gives",
        ),
        (
            lambda folder: edit(folder, lambda record: record["summary"].update(parameters=9)),
            "has 9 parameters, but its",
        ),
        (lambda folder: edit(folder, lambda record: record.update(status="done")), "has the status 'done'"),
        (lambda folder: edit(folder, lambda record: record.update(schema=99)), "has schema 99, this version reads 3"),
        (lambda folder: folder.rename(folder.with_name("0123456789ab")), "belongs in"),
    ],
)
def test_damaged_records_are_reported(
    damage: Callable[[Path], object], message: str, finished_run: Path, stampbench: Command
) -> None:
    damage(finished_run)
    found = check_store(stampbench, 1)
    assert found[-1] == "1 damaged"
    assert message in found[0]


def test_truncated_record_is_skipped_with_a_warning(finished_run: Path, stampbench: Command) -> None:
    text = (finished_run / "run.json").read_text()
    (finished_run / "run.json").write_text(text[: len(text) // 2])
    code, _, err = stampbench("leaderboard")
    assert code == 2
    assert "warning: skipped" in err


def test_running_interrupted_and_failed_runs_are_distinguished(
    make_run: Callable[..., Run],
    started: Callable[[Run], Record],
    finished_run: Path,
    stampbench: Command,
    tmp_path: Path,
) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("flat")
    with Lease(store.lease_folder(run.spec)) as lease:
        store.begin(started(run), lease)
        assert "leased by pid" in check_store(stampbench, 0)[0]
    assert "no active process; run the same command to resume" in check_store(stampbench, 0)[0]
    with Lease(store.lease_folder(run.spec)) as lease:
        store.begin(started(run), lease).fail("training loss is nan in epoch 3", resumable=False)
    found = check_store(stampbench, 0)
    assert found[0].startswith("failed: ")
    assert found[0].endswith("training loss is nan in epoch 3")
    assert found[-1] == "1 failed, 1 finished"


@pytest.mark.parametrize("id", ["a/b", "\0", "../../..", ["x"], None, "a" * 5000])
def test_unfinished_records_with_any_id_are_a_line(id: object, finished_run: Path, stampbench: Command) -> None:
    (finished_run / "run.json").write_text(json.dumps({"schema": 3, "status": "running", "id": id}))
    assert check_store(stampbench, 0)[-1] == "1 interrupted"


def test_stores_of_several_machines_merge_by_copying(
    make_run: Callable[..., Run], perform: Callable[..., Any], stampbench: Command, tmp_path: Path
) -> None:
    for name in ("standard", "flat"):
        perform(make_run(name), RunStore(tmp_path / f"from-{name}"))
        shutil.copytree(tmp_path / f"from-{name}", tmp_path / "runs", dirs_exist_ok=True)
    assert check_store(stampbench, 0) == ["2 finished"]
    assert "2 of 2 runs" not in stampbench("leaderboard")[2]
