"""Runs that fail: the recorded reason, what is kept, and the next try."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stampbench.benchmark.errors import TrainingFailedError
from stampbench.benchmark.execution import runner
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.training.session import TrainingSession
from stampbench.strategies.stamp import TrainAndPrune

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]


def test_failed_run_is_recorded_with_its_reason_and_can_be_retried(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")

    def fail(*_: Any) -> None:
        raise TrainingFailedError("training loss is nan in epoch 7")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", fail)
        with pytest.raises(TrainingFailedError):
            perform(run, store)
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "training loss is nan in epoch 7")
    assert list(store.records([])) == []
    perform(run, store)
    assert store.status(run.spec) == "finished"


def test_out_of_memory_fails_the_run_with_a_remedy_and_it_can_be_retried(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(self: Any, trainer: Any) -> None:
        trainer.train(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    run, store = make_run("stamp"), RunStore(tmp_path / "runs")
    with monkeypatch.context() as patched:
        patched.setattr(TrainAndPrune, "fit", out_of_memory)
        with pytest.raises(TrainingFailedError, match=r"memory ran out on cpu with batch size 2; .*batch_size=1"):
            perform(run, store)
    assert store.status(run.spec) == "failed"
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert "batch size 2" in record["reason"]
    assert perform(run, store).epochs > 1


def test_operation_without_a_deterministic_form_fails_the_run_with_a_remedy(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(self: Any, trainer: Any) -> None:
        torch.use_deterministic_algorithms(True)
        torch.zeros(2).put_(torch.tensor([0]), torch.tensor([1.0]))

    run, store = make_run("stamp"), RunStore(tmp_path / "runs")
    expected = "operation 'put_' has no deterministic form on cpu; train without deterministic algorithms, or"
    with monkeypatch.context() as patched:
        patched.setattr(TrainAndPrune, "fit", fit)
        try:
            with pytest.raises(TrainingFailedError, match=f"^{expected}"):
                perform(run, store)
        finally:
            torch.use_deterministic_algorithms(False)
    assert json.loads((store.folder(run.spec) / "run.json").read_text())["reason"].startswith(expected)


def test_trained_epochs_survive_an_error_in_the_evaluation(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "evaluate", fail)
        with pytest.raises(TrainingFailedError, match="RuntimeError: CUDA out of memory"):
            perform(run, store)
    assert store.status(run.spec) == "failed"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", fail)
        perform(run, store)
    assert store.status(run.spec) == "finished"


def test_exit_of_a_strategy_is_a_failure_and_that_of_a_signal_handler_passes(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("standard")
    strategy = type(run.resolved.strategy)
    monkeypatch.setattr(strategy, "__module__", __name__)
    monkeypatch.setattr(strategy, "fit", lambda self, trainer: sys.exit(7))
    with pytest.raises(TrainingFailedError, match=r"called exit\(7\)"):
        perform(run)
    assert RunStore(tmp_path / "runs").status(run.spec) == "failed"

    monkeypatch.setattr(strategy, "fit", lambda self, trainer: _exit_elsewhere())
    with pytest.raises(SystemExit):
        perform(make_run("standard", f=1))


def test_precision_that_the_record_would_not_name_is_a_failure(
    perform: Perform, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("standard")
    strategy = type(run.resolved.strategy)
    monkeypatch.setattr(strategy, "fit", lambda self, trainer: trainer.compute_in("bf16"))
    with pytest.raises(TrainingFailedError, match="compute_in: only the strategy 'quantised' records the precision"):
        perform(run)


def _exit_elsewhere() -> None:
    """Exit from the code of another module, as the signal handler of a cluster does."""
    exec("import sys; sys.exit(7)", {"__name__": "scheduler"})
