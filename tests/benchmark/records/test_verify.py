"""Stores that are large, old, damaged or full."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure.evaluate import CaseScore
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training.resume import ResumeFile

Command = Callable[..., tuple[int, str, str]]
Perform = Callable[..., dict[str, Any]]


@pytest.fixture
def recorded(make_run: Callable[..., Run], perform: Perform, tmp_path: Path) -> Path:
    """The folder of a finished run in the store `runs`."""
    run = make_run("stamp")
    perform(run)
    return RunStore(tmp_path / "runs").folder(run.spec)


def lines(stampbench: Command, code: int) -> list[str]:
    found, out, _ = stampbench("store", "check")
    assert found == code, out
    return out.splitlines()


def test_a_sound_store_is_sound(recorded: Path, stampbench: Command) -> None:
    assert lines(stampbench, 0) == ["1 finished"]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


def swap_weights(folder: Path) -> None:
    """Other weights with the checksum of other weights: only the network itself can tell."""
    path = folder / "model" / "architecture.json"
    architecture = json.loads(path.read_text())
    path.write_text(json.dumps(architecture, indent=3))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda folder: (folder / "run.json").write_text('{"schema": 3, "sta'), "not a record; it may be truncated"),
        (lambda folder: (folder / "cases.csv").write_text("case,dice\n"), "cases.csv: checksum mismatch"),
        (lambda folder: (folder / "trajectory.csv").unlink(), "trajectory.csv: No such file"),
        (
            lambda folder: (folder / "model" / "weights.safetensors").write_bytes(b"x"),
            "weights.safetensors: checksum mismatch",
        ),
        (swap_weights, "architecture.json: checksum mismatch"),
        (lambda folder: edit(folder, lambda each: each.pop("summary")), "incomplete record: missing summary"),
        (lambda folder: edit(folder, lambda each: each["spec"].update(seed=7)), "but its spec gives"),
        (
            lambda folder: edit(folder, lambda each: each.update(group="0" * 12)),
            "000000000000, but its spec gives",
        ),
        (lambda folder: edit(folder, lambda each: each["summary"].update(parameters=9)), "has 9 parameters, but its"),
        (lambda folder: edit(folder, lambda each: each.update(status="done")), "has the status 'done'"),
        (lambda folder: edit(folder, lambda each: each.update(schema=99)), "has schema 99, this version reads 3"),
        (lambda folder: folder.rename(folder.with_name("0123456789ab")), "but its spec gives"),
    ],
)
def test_damage_is_reported(fault: Callable[[Path], object], said: str, recorded: Path, stampbench: Command) -> None:
    fault(recorded)
    found = lines(stampbench, 1)
    assert found[-1] == "1 damaged"
    assert said in found[0]


def test_a_truncated_record_is_never_counted(recorded: Path, stampbench: Command) -> None:
    text = (recorded / "run.json").read_text()
    (recorded / "run.json").write_text(text[: len(text) // 2])
    code, _, err = stampbench("leaderboard")
    assert code == 2
    assert "warning: skipped" in err


def test_unfinished_runs_are_told_apart(
    make_run: Callable[..., Run], started: Any, recorded: Path, stampbench: Command, tmp_path: Path
) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("flat")
    with Lease(store.lease_folder(run.spec)) as lease:
        store.begin(started(run), lease)
        assert "leased by pid" in lines(stampbench, 0)[0]
    assert "no active process; run the same command to resume" in lines(stampbench, 0)[0]
    with Lease(store.lease_folder(run.spec)) as lease:
        store.begin(started(run), lease).fail("training loss is nan in epoch 3", resumable=False)
    found = lines(stampbench, 0)
    assert found[0].startswith("failed: ")
    assert found[0].endswith("training loss is nan in epoch 3")
    assert found[-1] == "1 failed, 1 finished"


def test_old_records_are_lifted(recorded: Path, stampbench: Command, tmp_path: Path) -> None:
    """A record as schema 1 had it: tables, no checksums of the network, no form of the dataset, no augmentation."""

    def age(record: dict[str, Any]) -> None:
        record["schema"] = 1
        files = record.pop("files")
        record["tables"] = {name: each for name, each in files.items() if not name.startswith("model/")}
        for key in ("patch", "fit", "window", "crop"):
            del record["spec"]["dataset"][key]
        del record["spec"]["protocol"]["augmentation"]
        del record["dataset"]["preprocessing"]
        record["summary"]["source_epochs"] = record["summary"].pop("parent_epochs")
        for key in ("kernels", "save_memory", "deterministic", "tf32"):
            del record["environment"][key]
        record["id"] = "old"

    new = recorded.name
    edit(recorded, age)
    recorded.rename(recorded.with_name("old"))
    found = lines(stampbench, 0)
    assert found[-1] == "1 old"
    assert "run 'stampbench store migrate' to upgrade it" in found[0]
    assert "warning: skipped" in stampbench("leaderboard")[2]
    assert "upgraded to schema 3" in stampbench("store", "migrate")[1]
    assert stampbench("store", "migrate")[1] == "nothing to upgrade\n"
    assert lines(stampbench, 0) == ["1 finished"]
    record = json.loads((recorded.with_name(new) / "run.json").read_text())
    assert (record["id"], record["migrated_from"]) == (new, "old")
    assert stampbench("leaderboard")[0] == 0
    assert stampbench("publish", "--output", "tables")[0] == 0


def test_stores_merge_by_copying(
    make_run: Callable[..., Run], perform: Perform, stampbench: Command, tmp_path: Path
) -> None:
    for name in ("standard", "flat"):
        perform(make_run(name), RunStore(tmp_path / f"from-{name}"))
        shutil.copytree(tmp_path / f"from-{name}", tmp_path / "runs", dirs_exist_ok=True)
    assert lines(stampbench, 0) == ["2 finished"]
    assert "2 of 2 runs" not in stampbench("leaderboard")[2]


# What was written last may be lost


def test_a_corrupt_resume_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    resume, heard = ResumeFile(tmp_path / "resume"), list[str]()
    resume.write({"epoch": 1})
    resume.write({"epoch": 2})
    assert resume.read() == {"version": 5, "epoch": 2}
    content = bytearray(resume.path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    resume.path.write_bytes(content)
    assert resume.read(heard.append) == {"version": 5, "epoch": 1}
    assert heard == [f"{resume.path}: damaged resume state (checksum mismatch); resuming from the previous state"]
    resume.path.unlink()  # killed between two renames
    assert resume.read() == {"version": 5, "epoch": 1}
    (tmp_path / "resume" / "previous.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"delete .*resume to start over"):
        resume.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_keeps_the_state_before(tmp_path: Path) -> None:
    resume = ResumeFile(tmp_path / "resume")
    resume.write({"epoch": 1})
    (tmp_path / "resume" / "state.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        resume.write({"epoch": 2})
    assert resume.read() == {"version": 5, "epoch": 1}


def test_a_run_that_was_taken_over_writes_nothing(make_run: Callable[..., Run], started: Any, tmp_path: Path) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("flat")
    with Lease(store.lease_folder(run.spec)) as lease:
        folder = store.begin(started(run), lease)
        resume = ResumeFile(folder.resume, lease.check)
        resume.write({"epoch": 1})
        (store.lease_folder(run.spec) / "000002.json").write_text('{"host": "far"}')
        for write in (
            lambda: resume.write({"epoch": 2}),
            lambda: folder.write_table("cases.csv", CaseScore, [{"a": 1}]),
            lambda: folder.fail("no", resumable=True),
        ):
            with pytest.raises(UserError, match="taken over by another process"):
                write()
    assert resume.read() == {"version": 5, "epoch": 1}
    assert store.status(run.spec) == "running"


# Ten thousand


@pytest.fixture
def ten_thousand(recorded: Path, tmp_path: Path) -> Path:
    """A store of copies of one record, each a run of its own."""
    record = json.loads((recorded / "run.json").read_text())
    spec = RunSpec.model_validate(record["spec"])
    header, *rows = (recorded / "cases.csv").read_text().splitlines()
    table = "\n".join([header, *rows[:6] * 10]) + "\n"  # sixty rows, as of twenty cases and three classes
    record["files"]["cases.csv"] = hashlib.sha256(table.encode()).hexdigest()
    cases = tmp_path / "cases.csv"
    cases.write_text(table)
    store = RunStore(tmp_path / "many")
    for number in range(10_000):
        one = spec.model_copy(update={"seed": number % 50, "fold": number // 50 % 5, "n_train": 10 + number // 250})
        folder = store.folder(one)
        folder.mkdir(parents=True)
        (folder / "cases.csv").hardlink_to(cases)
        (folder / "run.json").write_text(json.dumps(record | {"id": one.id, "group": one.group, "spec": one.stored()}))
    return store.root


def test_ten_thousand_records_make_a_leaderboard_in_seconds(ten_thousand: Path, stampbench: Command) -> None:
    started = time.process_time()  # of this process, whatever else the machine does
    for path in ten_thousand.rglob("run.json"):
        json.loads(path.read_text())
        (path.parent / "cases.csv").read_bytes()
    read = time.process_time()
    code, out, _ = stampbench("leaderboard", "--runs", ten_thousand, "--format", "csv")
    # 3 to 5 times what reading takes, whatever the machine.
    assert time.process_time() - read < 10 * (read - started)
    assert code == 0
    assert len(out.splitlines()) == 41  # forty training sizes


def test_ten_thousand_runs_are_foretold_in_seconds(stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(
        "strategies: [{name: standard, grid: {f: [1, 2, 3, 4]}}, stamp, flat]\n"
        'datasets: ["phantom2d:size=16,cases=80"]\n'
        f"n_train: [20, 30, 40, 50]\nseeds: {list(range(84))}\nprotocol: quick\n"
    )
    started = time.process_time()
    code, out, _ = stampbench("suite", "run", "many.yaml", "--dry-run")
    assert time.process_time() - started < 10
    assert (code, out.splitlines()[0]) == (0, "10080 runs: 0 finished, 10080 missing, 0 failed")
