"""Execution through submitit, on Slurm or in local processes that submitit starts."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.execution.executors.serial import SerialExecutor


def test_records_are_the_same_through_submitit(
    suite_text: str,
    write_tasks: Callable[..., Any],
    worker_settings: Callable[..., Any],
    schedule: Callable[..., dict[str, str]],
    read_store: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from stampbench.benchmark.execution.executors.slurm import SlurmExecutor

    # Every run is a process of its own, so one dataset and one fold are enough.
    tasks = write_tasks(suite_text.replace(', "phantom3d:size=16,cases=14"', "").replace("folds: [0, 1]", "folds: [0]"))
    executor = SlurmExecutor(worker_settings(tmp_path / "slurm"), tmp_path / "logs", cluster="local", minutes=5)
    assert schedule(tasks, tmp_path / "slurm", executor) == {}
    serial = SerialExecutor(worker_settings(tmp_path / "one"), len(tasks), quiet=True)
    assert schedule(tasks, tmp_path / "one", serial) == {}
    assert read_store(tmp_path / "slurm") == read_store(tmp_path / "one")
    assert len(read_store(tmp_path / "slurm")) == 3


def test_absent_slurm_is_refused(
    suite_text: str, write_tasks: Callable[..., Any], tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    write_tasks(suite_text)
    if subprocess.run(["which", "sbatch"], capture_output=True).returncode:
        code, _, err = stampbench("suite", "run", tmp_path / "suite.yaml", "--executor", "slurm")
        assert (code, "error: executor 'slurm':" in err) == (2, True)


def test_preempted_job_saves_its_state_and_is_submitted_again(
    logged_suite: Any,
    worker_settings: Callable[..., Any],
    schedule: Callable[..., dict[str, str]],
    tmp_path: Path,
) -> None:
    """Submitit's local executor requeues the job after the signal that Slurm would send."""
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from submitit.local.local import LocalJobEnvironment

    from stampbench.benchmark.execution.executors.slurm import SlurmExecutor

    logged_suite.write(1)
    tasks = logged_suite.load()
    # The signal alone makes the run save its state: without it, the next state would be saved in an hour.
    settings = worker_settings(tmp_path / "runs", save_every=3600.0, **logged_suite.worker_options())
    executor = SlurmExecutor(settings, tmp_path / "logs", cluster="local", minutes=5)

    def preempt() -> None:
        os.kill(int(logged_suite.wait_for(4)[-1][2]), LocalJobEnvironment._usr_sig())
        logged_suite.make_fast()

    interrupter = threading.Thread(target=preempt)
    interrupter.start()
    assert schedule(tasks, tmp_path / "runs", executor) == {}
    interrupter.join()
    epochs = logged_suite.epochs()
    assert len(epochs) == 12
    assert sum(epochs.values()) <= 12 + 1
    assert len(logged_suite.processes()) == 2


def slurm_is_available() -> bool:
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.slow
@pytest.mark.skipif(not slurm_is_available(), reason="Slurm is not available")
def test_requeued_job_on_slurm_is_resumed(logged_suite: Any, read_store: Callable[[Path], Any], tmp_path: Path) -> None:
    """Slurm waits up to two minutes before it starts a requeued job."""
    logged_suite.write(2)
    process = logged_suite.start("--executor", "slurm", "--memory-gb", 2, "--minutes", 10)
    logged_suite.wait_for(4)
    job = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True)
    subprocess.run(["scontrol", "requeue", job.stdout.split()[0]], check=True)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    epochs = logged_suite.epochs()
    assert len(epochs) == 2 * 12
    assert sum(epochs.values()) <= 2 * 12 + 2
    assert read_store(tmp_path / "runs") == read_store(logged_suite.run_undisturbed())
