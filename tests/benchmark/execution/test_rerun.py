"""Repetition of recorded runs with `stampbench store check --rerun`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution import rerun as module
from stampbench.benchmark.execution.rerun import rerun
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.publish import publish
from stampbench.benchmark.records.run_store import RunStore

Command = Callable[..., tuple[int, str, str]]
Make = Callable[..., Run]


@pytest.fixture
def published(
    make_run: Make,
    perform: Callable[..., Any],
    made_once: Callable[[str, Callable[[Path], object]], Path],
    tmp_path: Path,
) -> Path:
    """Return a folder with the published table of one run, whose store is `tmp_path / "runs"`."""

    def record(folder: Path) -> None:
        # The process that repeats the run need not import MONAI for this loss.
        perform(make_run("stamp", protocol_settings=("max_epochs=3", "loss=dice_l2")), RunStore(folder / "runs"))
        publish(folder / "runs", folder / "published", [])

    shutil.copytree(made_once("published-run", record), tmp_path, dirs_exist_ok=True)
    return tmp_path / "published"


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let a repetition copy the recorded store instead of training again."""

    def copy(_: list[str], store: Path) -> int:
        shutil.copytree(tmp_path / "runs", store, dirs_exist_ok=True)
        return 0

    monkeypatch.setattr(module, "_execute", copy)


def change(folder: Path, table: str, column: str, value: object) -> None:
    """Overwrite the first value of a column of a published table."""
    content = pd.read_csv(folder / f"{table}.csv", dtype=str, keep_default_na=False)
    content.loc[0, column] = value
    content.to_csv(folder / f"{table}.csv", index=False)


def test_repeated_run_gives_the_same_scores_and_network(published: Path, stampbench: Command) -> None:
    """The command trains again in a process of its own."""
    run = str(pd.read_csv(published / "runs.csv", dtype=str)["run"][0])
    code, out, _ = stampbench("store", "check", "--runs", published, "--rerun", run[:5])
    assert (code, len(out.splitlines())) == (0, 1), out
    assert out.startswith(f"{run} stamp (f=2, depth=1): the same: test Dice ")


@pytest.mark.usefixtures("repeats")
def test_differences_of_scores_cases_and_network_are_listed(published: Path, stampbench: Command) -> None:
    change(published, "runs", "test_dice", "0.9876")
    change(published, "runs", "parameters", "12345")
    change(published, "cases", "dice", "0.99")
    code, out, _ = stampbench("store", "check", "--runs", published, "--rerun", "")
    assert code == 1
    first, *differences = out.splitlines()
    assert "differs (recorded on" in first
    assert [line.split(":")[0].strip() for line in differences[:2]] == ["test_dice", "parameters"]
    assert differences[0].startswith("  test_dice: 0.9876 recorded, ")
    assert differences[2].startswith("  Dice of 1 of 6 case × class, by at most 0.9")


@pytest.mark.usefixtures("repeats")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("stampbench run --strategy stamp --plugin evil.py", "is not executed.*--plugin"),
        ("stampbench publish --runs x", "is not executed"),
        ("sh -c true", "is not executed"),
        ("", "is not executed"),
    ],
)
def test_commands_that_no_record_has_are_not_executed(command: str, message: str, published: Path) -> None:
    change(published, "runs", "command", command)
    with pytest.raises(UserError, match=message):
        rerun(published, "", None)


@pytest.mark.usefixtures("repeats")
def test_unknown_runs_and_commands_that_give_another_run_are_refused(published: Path) -> None:
    with pytest.raises(UserError, match=r"unknown run at .* 'zzz'"):
        rerun(published, "zzz", None)
    for table in ("runs", "cases", "trajectories"):
        content = pd.read_csv(published / f"{table}.csv", dtype=str, keep_default_na=False)
        content.assign(run="0123456789ab").to_csv(published / f"{table}.csv", index=False)
    with pytest.raises(UserError, match=r"its command gives the run [0-9a-f]{12} here"):
        rerun(published, "0123", None)
