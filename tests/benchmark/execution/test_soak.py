"""Runs killed at random moments end like undisturbed ones; `make soak` kills each kind of schedule twenty times."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Run, prepare_cases, with_parents
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "3"))

# To convergence; train and prune; prune and fine-tune, which waits for a source of its own.
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "standard": (("max_epochs=700", "patience=700"), {}),
    "stamp_plus": (("max_epochs=700",), {"filters_per_step": 1, "recovery_epochs": 90}),
    "prune_finetune": (("max_epochs=200", "patience=200", "finetune_patience=40"), {"filters_per_step": 2}),
}


def child(run: Run, store: Path) -> None:
    progress = Progress("soak", 1, quiet=True)
    records = RunStore(store)
    try:
        for each in with_parents([run]):
            if records.status(each.spec) != "finished":
                compute = ComputeSettings(device="cpu", save_every=0.0)
                execute(each, prepare_cases([each], progress), Workplace(records, compute, progress, timed=False))
    except BaseException:
        reason(store).write_text(traceback.format_exc())  # what a child prints is lost
        raise


def reason(store: Path) -> Path:
    return store.with_suffix(".error")


def ending(run: Run, store: Path) -> dict[str, Any]:
    folder, record = RunStore(store).read(run.spec)
    summary = record.results.model_dump(exclude={"training_seconds"})
    return {
        "summary": summary,
        "trajectory": pd.read_csv(folder / "trajectory.csv").drop(columns="seconds").to_csv(),
        "pruned": (folder / "pruned.csv").read_text(),
        "cases": (folder / "cases.csv").read_text(),
        "weights": (folder / "model" / "weights.safetensors").read_bytes(),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_moments_it_ends_the_same(
    kind: str, make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol, settings = KINDS[kind]
    run = make_run(kind, protocol_settings=protocol, **settings)
    context, moments = multiprocessing.get_context("fork"), random.Random(kind)

    def begin(store: str) -> Any:
        process = context.Process(target=child, args=(run, tmp_path / store))
        process.start()
        return process

    undisturbed = begin("undisturbed")
    undisturbed.join(300)
    assert undisturbed.exitcode == 0, reason(tmp_path / "undisturbed").read_text()
    hits = 0
    for _ in range(ROUNDS):
        process = begin("killed")
        time.sleep(moments.uniform(0.1, 0.4))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        hits += process.exitcode == -signal.SIGKILL
    last = begin("killed")
    last.join(300)
    assert last.exitcode == 0, reason(tmp_path / "killed").read_text()
    assert ending(run, tmp_path / "killed") == ending(run, tmp_path / "undisturbed")
    assert hits == ROUNDS
    with capsys.disabled():
        if ROUNDS > 3:
            epochs = ending(run, tmp_path / "killed")["summary"]["epochs"]
            print(f"\n{kind}: killed {hits} times in {epochs} epochs; the same bit for bit")
