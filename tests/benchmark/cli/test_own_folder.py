"""What can be done with runs on a user's own folder after training."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.api import read_records
from stampbench.benchmark.records.run_store import RunStore

Command = Callable[..., tuple[int, str, str]]
SHORT = ("--folds", "0", "--set", "f=1", "--set", "depth=1", "--protocol", "quick", "--protocol-set", "folds=2",
         "--protocol-set", "max_epochs=1", "--spatial-dims", "2", "--subject-pattern", "case_(.*)")  # fmt: skip


@pytest.fixture
def folder(decathlon: Callable[..., Path], stampbench: Command) -> Path:
    """A folder below `elsewhere` with a recorded run."""
    folder = decathlon(name="elsewhere/Organ", cases=8)
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", folder, *SHORT)
    assert code == 0, err
    return folder


def test_commands_find_the_folder_where_it_was_below_the_data_root_or_by_option(
    folder: Path, stampbench: Command, tmp_path: Path
) -> None:
    (run,) = read_records().runs["run"]
    figure = ("figure", "segmentations", "--output", "a.png")
    assert stampbench(*figure)[::2] == (0, "")
    moved = tmp_path / "data" / "Organ"
    moved.parent.mkdir()
    shutil.move(folder, moved)
    code, _, err = stampbench(*figure)
    assert (code, err) == (
        2,
        f"error: dataset 'Organ': not found at {folder}; name its folder or definition file; see --folder\n",
    )
    out = stampbench("export", run, "--format", "pt2", "--output", "a.pt2")[1]
    assert "on noise, because of the data: dataset 'Organ': not found at" in out
    assert "see --folder" in out
    assert stampbench(*figure, "--data-root", tmp_path / "data")[0] == 0
    assert stampbench(*figure, "--folder", moved)[0] == 0


def test_submissions_on_a_folder_are_checked_with_the_checkers_copy(
    folder: Path, stampbench: Command, tmp_path: Path
) -> None:
    check = ("submit", "check", "runs", "--rescore", "1")
    out = stampbench(*check)[1]
    assert "was not segmented again: dataset 'Organ': its folder is not known" in out
    assert "\ndata of runs that were not segmented again: see --data-root, --folder and --rescore\n" in out
    out = stampbench(*check, "--folder", folder)[1]
    assert "was not segmented again" not in out
    assert out.splitlines()[-1] == "refused: 1 runs, 1 cases segmented again"  # a fold is missing


def test_tables_take_the_path_that_run_took(folder: Path, stampbench: Command) -> None:
    code, out, err = stampbench("leaderboard", "--dataset", folder)
    assert code == 0, err
    assert "Organ" in out
    code, _, err = stampbench("leaderboard", "--dataset", folder.with_name("other"))
    assert (code, "does not exist" in err) == (2, True)


def test_rerun_command_repeats_the_run_also_of_a_folder_named_like_a_dataset(
    decathlon: Callable[..., Path], stampbench: Command
) -> None:
    folder = decathlon(name="hippocampus", cases=8)
    for words in (SHORT, (*SHORT, "--split-version", "1", "--fit", "resize", "--image-size", "16x16")):
        code, _, err = stampbench("run", "--strategy", "standard", "--dataset", folder, *words)
        assert code == 0, err
    for _, record in RunStore(Path("runs")).records([], files=()):
        assert "--dataset ./hippocampus" in record.command
        code, out, err = stampbench(*shlex.split(record.command)[1:], "--dry-run")
        assert (code, f"{record.id}  hippocampus" in out) == (0, True), (record.command, out, err)


def test_strategies_that_count_their_epochs_themselves_are_named(folder: Path, stampbench: Command) -> None:
    words = ("--dataset", folder, *SHORT, "--dry-run")
    err = stampbench("run", "--strategy", "standard,stamp", *words)[2]
    assert err.startswith("warning: stamp (f=1, depth=1): trains up to ")
    assert "which it counts itself; max_epochs=1 limits trainings to convergence only" in err
    assert "standard" not in err
