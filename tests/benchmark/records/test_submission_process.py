"""Hostile submissions: refused in a line each, in bounded time and memory; what is accepted can be published."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.records import submission_process
from stampbench.benchmark.records.publish import publish
from stampbench.benchmark.records.submission import SubmissionReport, check_submission
from stampbench.benchmark.records.submission_process import Limits, check_in_child
from stampbench.benchmark.records.tables import read_records

Submission = Callable[..., Path]
check = functools.partial(check_submission, published=None, rescore=0)


@pytest.fixture
def submitted(recorded_runs: Any, tmp_path: Path) -> Path:
    """Store with the two folds of one strategy."""
    for folder in recorded_runs.runs.glob("*/standard/*"):
        shutil.copytree(folder, tmp_path / "runs" / folder.relative_to(recorded_runs.runs))
    return tmp_path / "runs"


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    """Replace a file by something else."""
    if path.exists():
        path.unlink()
    make(path)


def test_only_regular_files_of_runs_are_opened(submitted: Path) -> None:
    assert check(submitted) == SubmissionReport(2, 0, [])
    run = next(submitted.glob("*/*/*"))
    changes: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "'s extra file": (submitted / "notes.txt", Path.touch),
        "hidden folder": (submitted / ".git", Path.mkdir),
        "file of a run": (run / "more.csv", Path.touch),
        "resume state": (run / "resume", Path.mkdir),
        "link to a folder": (submitted / "other", lambda path: path.symlink_to("/", target_is_directory=True)),
        "pipe": (run / "cases.csv", os.mkfifo),
        "device": (run / "model" / "weights.safetensors", lambda path: path.symlink_to("/dev/zero")),
        "record": (run / "run.json", lambda path: path.symlink_to("/etc/passwd")),
        "large file": (run / "run.json", lambda path: (path.touch(), os.truncate(path, 1 << 30))),
        "hidden run": (run.with_name(f".{run.name}.forced"), Path.mkdir),
        "other name": (run.with_name("abc"), Path.mkdir),
    }
    shutil.copytree(submitted, submitted.with_name("before"))
    for name, (path, make) in changes.items():
        replaced(path, make)
        begun = time.monotonic()
        result = check(submitted)
        assert time.monotonic() - begun < 5, name
        assert len(result.problems) == 1, name
        assert path.name in result.problems[0]
        shutil.rmtree(submitted)
        shutil.copytree(submitted.with_name("before"), submitted)


def change_record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    record["id"] = RunSpec.model_validate(record["spec"]).id
    (folder / "run.json").write_text(json.dumps(record))


def test_checksums_are_mandatory(submitted: Path) -> None:
    folder = next(submitted.glob("*/*/*"))
    for name in ("latency.csv", "model/weights.safetensors", "pruned.csv"):
        text = (folder / "run.json").read_text()
        change_record(folder, lambda record, name=name: record["files"].pop(name))
        assert any(f"has no checksum of {name}" in problem for problem in check(submitted).problems)
        (folder / "run.json").write_text(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["dataset"].update(called="phantom2d:cases=99999999999"),
        lambda record: record["dataset"].update(called="nowhere", source="/"),
        lambda record: record["dataset"].update(source="/dev/zero"),
        lambda record: record["dataset"].update(called="phantom2d:size=16,cases=10"),
        lambda record: record["dataset"].update(called=None),
    ],
)
def test_rescoring_cannot_be_declined(
    change: Callable[[dict[str, Any]], object], submitted: Path, recorded_runs: Any
) -> None:
    for folder in submitted.glob("*/*/*"):
        change_record(folder, change)
    result = check_submission(submitted, None, recorded_runs.data, rescore=1)
    assert result == SubmissionReport(2, 2, [])


def test_dataset_that_only_the_submitter_has_is_refused(submitted: Path, recorded_runs: Any, tmp_path: Path) -> None:
    for folder in list(submitted.glob("*/*/*")):
        change_record(folder, lambda record: record["spec"]["dataset"].update(name="mine"))
        record = json.loads((folder / "run.json").read_text())
        spec = RunSpec.model_validate(record["spec"])
        (folder / "run.json").write_text(json.dumps(record | {"group": spec.group}))
        target = submitted / "mine" / "standard" / spec.id
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
    shutil.rmtree(submitted / "hippocampus")
    result = check_submission(submitted, None, recorded_runs.data, rescore=1)
    assert ["was not segmented again: dataset 'mine'" in problem for problem in result.problems] == [True, True]
    assert check_submission(submitted, None, recorded_runs.data, rescore=0).problems == []


def test_check_that_exceeds_its_limits_is_a_refusal(submitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(work: Callable[..., object], **limits: float) -> list[str]:
        monkeypatch.setattr(submission_process, "check_submission", work)
        return check_in_child(
            submitted, None, None, rescore=0, limits=Limits(**limits), report=lambda done, total: None
        ).problems

    def exhaust(report: Callable[..., None], **_: object) -> object:
        report(1, 2, "runs/a/b/0123456789ab")
        return bytearray(1 << 34)

    assert run(lambda **_: time.sleep(60), seconds=0.2) == [f"{submitted}: was not checked within 0.2 seconds"]
    (problem,) = run(lambda **_: os._exit(9))
    assert "the check ended with exit code 9" in problem
    (problem,) = run(exhaust, gigabytes=4.0)
    assert problem.startswith("runs/a/b/0123456789ab: cannot be checked (MemoryError")


def test_whatever_is_accepted_can_be_published(submitted: Path, tmp_path: Path) -> None:
    """Random changes of values, of which some are harmless; the others are refused."""
    shutil.copytree(submitted, tmp_path / "before")
    numbers = random.Random(7)
    values = [
        None,
        0,
        1,
        -1,
        0.5,
        2**40,
        "",
        "a",
        "a|b\n",
        "../x",
        "=1+1",
        [],
        {},
        [1],
        {"a": 1},
        True,
        "0" * 12,
        "é" * 90,
    ]
    accepted = 0
    rounds = 20 * int(os.environ.get("SOAK_ROUNDS", "1"))
    for _ in range(rounds):
        shutil.rmtree(submitted)
        shutil.copytree(tmp_path / "before", submitted)
        folder = sorted(submitted.glob("*/*/*"))[0]
        record = json.loads((folder / "run.json").read_text())
        if numbers.random() < 0.7:
            within = record
            while True:
                key = numbers.choice(sorted(within))
                if not isinstance(within[key], dict) or not within[key] or numbers.random() < 0.1:
                    break
                within = within[key]
            within[key] = numbers.choice(values)
        else:
            name = numbers.choice(["cases.csv", "latency.csv", "trajectory.csv", "pruned.csv"])
            table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
            if len(table):
                table.iloc[numbers.randrange(len(table)), numbers.randrange(len(table.columns))] = str(
                    numbers.choice(values)
                )
            text = table.to_csv(index=False)
            (folder / name).write_text(text)
            record["files"][name] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "run.json").write_text(json.dumps(record))
        result = check(submitted)
        if not result.problems:
            accepted += 1
            problems: list[str] = []
            shutil.rmtree(tmp_path / "tables", ignore_errors=True)
            publish(submitted, tmp_path / "tables", problems)
            assert problems == []
            assert len(read_records(tmp_path / "tables", problems).runs) == 2
    assert 0 < accepted < rounds
