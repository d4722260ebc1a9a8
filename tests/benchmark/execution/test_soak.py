"""Runs that are killed at random moments end like undisturbed ones; `make soak` kills each kind of run twenty times."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Run, prepare_cases, with_parents
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "3"))

# Training to convergence, training and pruning, and pruning and fine-tuning after a parent run. A run takes several
# times as many epochs as it is disturbed in.
RUNS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "standard": ((f"max_epochs={40 + 20 * ROUNDS}", f"patience={40 + 20 * ROUNDS}"), {}),
    "stamp_plus": ((), {"filters_per_step": 1, "recovery_epochs": 4 + 2 * ROUNDS}),
    "prune_finetune": (
        (f"max_epochs={20 + 10 * ROUNDS}", f"patience={20 + 10 * ROUNDS}", f"finetune_patience={4 + ROUNDS}"),
        {"filters_per_step": 2},
    ),
}
MOST_SAVES = 20
"""Of resume states until a run is killed again; each call of a strategy is followed by one, and an epoch by several."""


def execute_with_parents(run: Run, store: Path, save_every: float) -> None:
    """Execute a run and its parent runs in a child process; write the traceback of an error to a file."""
    progress = Progress("soak", 1, quiet=True)
    records = RunStore(store)
    # In a forked process PyTorch makes its pool of threads anew, which two threads must not do at once.
    torch.set_num_threads(1)
    try:
        for each in with_parents([run]):
            if records.status(each.spec) != "finished":
                compute = ComputeSettings(device="cpu", save_every=save_every)
                execute(each, prepare_cases([each], progress), Workplace(records, compute, progress, timed=False))
    except BaseException:
        error_file(store).write_text(traceback.format_exc())  # the output of the child process is not shown
        raise


def wait_for_saves(process: Any, states: list[Path], number: int) -> None:
    """Wait until a process has saved its resume state so many times, however fast this machine is, or has ended."""
    seen = set[int]()
    while len(seen) <= number and process.is_alive():
        for path in states:
            with suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        time.sleep(0.001)


def error_file(store: Path) -> Path:
    return store.with_suffix(".error")


def results(run: Run, store: Path) -> dict[str, Any]:
    """Return everything that is recorded of a run except times."""
    folder, record = RunStore(store).read(run.spec)
    summary = record.results.model_dump(exclude={"training_seconds"})
    return {
        "summary": summary,
        "trajectory": pd.read_csv(folder / "trajectory.csv").drop(columns="seconds").to_csv(),
        "pruned": (folder / "pruned.csv").read_text(),
        "cases": (folder / "cases.csv").read_text(),
        "weights": (folder / "model" / "weights.safetensors").read_bytes(),
    }


@pytest.mark.parametrize("name", RUNS)
def test_run_killed_at_random_moments_ends_like_an_undisturbed_one(
    name: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol, settings = RUNS[name]
    run = make_run(name, protocol_settings=protocol, **settings)
    context, random_numbers = multiprocessing.get_context("fork"), random.Random(name)

    def start(store: str) -> Any:
        process = context.Process(
            target=execute_with_parents, args=(run, tmp_path / store, 0.0 if store == "killed" else 60.0)
        )
        process.start()
        return process

    undisturbed = start("undisturbed")
    undisturbed.join(300)
    assert undisturbed.exitcode == 0, error_file(tmp_path / "undisturbed").read_text()
    folders = [RunStore(tmp_path / "killed").folder(each.spec) for each in with_parents([run])]
    states, kills = [folder / "resume" / "state.pt" for folder in folders], 0
    for _ in range(ROUNDS):
        process = start("killed")
        wait_for_saves(process, states, random_numbers.randint(0, MOST_SAVES))
        time.sleep(random_numbers.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    final = start("killed")
    final.join(300)
    assert final.exitcode == 0, error_file(tmp_path / "killed").read_text()
    assert results(run, tmp_path / "killed") == results(run, tmp_path / "undisturbed")
    assert kills == ROUNDS
    with capsys.disabled():
        if ROUNDS > 3:
            epochs = results(run, tmp_path / "killed")["summary"]["epochs"]
            print(f"\n{name}: killed {kills} times in {epochs} epochs; identical bit for bit")
