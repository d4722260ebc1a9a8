"""A finished run whose record tests may damage, and processes that are killed between two steps."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore


@pytest.fixture
def finished_run(
    make_run: Callable[..., Run],
    perform: Callable[..., Any],
    made_once: Callable[[str, Callable[[Path], object]], Path],
    tmp_path: Path,
) -> Path:
    """Folder of a finished run in the store `tmp_path / "runs"`."""
    run = make_run("stamp")
    recorded = made_once("finished-run", lambda folder: perform(run, RunStore(folder)))
    shutil.copytree(recorded, tmp_path / "runs")
    return RunStore(tmp_path / "runs").folder(run.spec)


@pytest.fixture
def killed_before() -> Callable[[int, Callable[[], object]], bool]:
    """Function that lets a child process do some work and kills it before the step of a number.

    It returns whether there was such a step. Steps are everything that changes a folder or makes a file last.
    """

    def run(number: int, work: Callable[[], object]) -> bool:
        process = multiprocessing.get_context("fork").Process(target=_work, args=(number, work))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode != 0

    return run


def _work(number: int, work: Callable[[], object]) -> None:
    steps = itertools.count()

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)

        return call

    for owner, name in (
        (Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (shutil, "rmtree"), (os, "fsync"),
    ):  # fmt: skip
        setattr(owner, name, counted(getattr(owner, name)))
    work()
