"""Locks of folders that several processes rewrite."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from stampbench.benchmark.environment.folder_lock import folder_lock
from stampbench.benchmark.errors import UserError


def count_up(folder: Path, times: int) -> None:
    for _ in range(times):
        with folder_lock(folder):
            number = int((folder / "number").read_text())
            (folder / "number").write_text(str(number + 1))


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(tmp_path, 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "number").read_text() == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_waiting_has_an_end_and_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()  # of a process that was killed
    with folder_lock(tmp_path), pytest.raises(UserError, match="another process is rewriting it"):  # noqa: SIM117
        with folder_lock(tmp_path, seconds=0.1):
            raise AssertionError
    (tmp_path / "victim").touch()
    (tmp_path / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError, match="cannot write"), folder_lock(tmp_path):
        raise AssertionError
