"""The order of runs, retries of lost runs, failures and interruptions, with an executor that executes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import RunCounts
from stampbench.benchmark.execution import scheduler as module
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings
from stampbench.benchmark.execution.run import Run, with_parents
from stampbench.benchmark.execution.scheduler import Reporter, Scheduler
from stampbench.benchmark.records import lease as lease_module
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary

MakeRun = Callable[..., Run]
DATASET = "phantom2d:size=16,cases=10"
SUMMARY = Summary(**{name: 0 for name, field in Summary.model_fields.items() if field.is_required()})
FINISHED: dict[str, Any] = {"summary": SUMMARY}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LATER_SECONDS", 0.05)


class ScriptedExecutor:
    """Executor whose tasks end at once, as a script says.

    Attributes:
        started: tasks in the order of their starts.
        calls: calls of `stop` and `kill`.
    """

    poll_seconds = 0.0

    def __init__(self, outcomes: dict[str, list[dict[str, Any]]] | None = None, free: int = 2) -> None:
        """`outcomes` are fields of the outcomes of each run's attempts; by default, every attempt finishes."""
        self.free = free
        self.started: list[Task] = []
        self.calls: list[str] = []
        self._outcomes = outcomes or {}
        self._ended: list[Outcome] = []

    def start(self, tasks: Sequence[Task]) -> None:
        assert len(tasks) <= self.free
        self.started += tasks
        for task in tasks:
            attempts = self._outcomes.get(task.job.id, [])
            self._ended.append(Outcome(task.job.id, **(attempts.pop(0) if attempts else FINISHED)))

    def ended(self) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        self.calls.append("stop")

    def kill(self) -> None:
        self.calls.append("kill")

    @property
    def ids(self) -> list[str]:
        return [task.job.id for task in self.started]


def tasks_of(*runs: Run, force: bool = False) -> list[Task]:
    """Return tasks of the runs and their parents, parents first."""
    settings = {"folds": 2, "batch_size": 2, "max_epochs": 3}
    jobs = [Job.of(run, DatasetRequest(name=DATASET), settings) for run in with_parents(runs)]
    pairs = zip(with_parents(runs), jobs, strict=True)
    return [Task(run, job.model_copy(update={"force": force})) for run, job in pairs]


def record_status(store: RunStore, run: Run, status: str, **keys: str) -> None:
    """Write a `run.json` that has only what the scheduler reads."""
    folder = store.folder(run.spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"status": status, **keys}))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_parents_are_executed_before_the_runs_that_build_on_them(make_run: MakeRun, store: RunStore) -> None:
    child, other = make_run("prune_finetune", filters_per_step=8), make_run("flat")
    parent = child.parents["converged"]
    executor, done = ScriptedExecutor(), list[str]()
    tasks = tasks_of(child, other)
    assert Scheduler(tasks, store, executor, Reporter(done=done.append)).run() == {}
    assert executor.ids == [parent.spec.id, other.spec.id, child.spec.id]
    assert [line.split()[0] for line in done] == executor.ids
    assert executor.calls == ["stop"]


def test_executor_gets_no_more_tasks_than_it_accepts(make_run: MakeRun, store: RunStore) -> None:
    counts = list[RunCounts]()
    executor = ScriptedExecutor(free=1)  # `start` asserts the limit
    tasks = tasks_of(make_run("flat"), make_run("standard"), make_run("stamp"))
    assert Scheduler(tasks, store, executor, Reporter(show=counts.append)).run() == {}
    assert len(executor.started) == 3
    assert (counts[-1].done, counts[-1].total, counts[-1].failed) == (3, 3, 0)


def test_lost_run_is_retried_and_finishes(make_run: MakeRun, store: RunStore) -> None:
    run, problems = make_run("flat"), list[str]()
    executor = ScriptedExecutor({run.spec.id: [{"lost": "its node vanished"}, {"lost": "its node vanished"}]})
    assert Scheduler(tasks_of(run), store, executor, Reporter(problem=problems.append)).run() == {}
    assert executor.ids == [run.spec.id] * 3
    assert [line.split(": ")[-1] for line in problems] == [
        "its node vanished; retrying (2 of 3)",
        "its node vanished; retrying (3 of 3)",
    ]


def test_run_that_is_lost_three_times_fails(make_run: MakeRun, store: RunStore) -> None:
    run, other = make_run("flat"), make_run("standard")
    executor = ScriptedExecutor({run.spec.id: [{"lost": "its node vanished"}] * 4})
    failed = Scheduler(tasks_of(run, other), store, executor, Reporter()).run()
    assert failed == {run.spec.id: "its node vanished, 3 times"}
    assert executor.ids.count(run.spec.id) == 3
    assert other.spec.id in executor.ids


def test_failed_parent_skips_all_runs_that_build_on_it_and_no_other(make_run: MakeRun, store: RunStore) -> None:
    child, other = make_run("prune_finetune", filters_per_step=8), make_run("flat")
    parent, problems, tracebacks = child.parents["converged"], list[str](), list[str]()
    executor = ScriptedExecutor({parent.spec.id: [{"reason": "memory ran out", "traceback": "Traceback …"}]})
    report = Reporter(problem=problems.append, traceback=tracebacks.append)
    assert Scheduler(tasks_of(child, other), store, executor, report).run() == {
        parent.spec.id: "memory ran out",
        child.spec.id: f"its parent run {parent.spec.id} failed",
    }
    assert executor.ids == [parent.spec.id, other.spec.id]
    assert tracebacks == ["Traceback …"]
    assert [line.split("failed: ")[1] for line in problems] == [
        "memory ran out",
        f"its parent run {parent.spec.id} failed",
    ]


def test_failed_grandparent_skips_the_whole_chain(make_run: MakeRun, store: RunStore) -> None:
    last = make_run("retrain_scratch", source="prune_finetune", source_settings='{"filters_per_step": 8}')
    (middle,) = last.parents.values()
    (first,) = middle.parents.values()
    executor = ScriptedExecutor({first.spec.id: [{"reason": "diverged"}]})
    failed = Scheduler(tasks_of(last), store, executor, Reporter()).run()
    assert failed[middle.spec.id] == f"its parent run {first.spec.id} failed"
    assert failed[last.spec.id] == f"its parent run {middle.spec.id} failed"
    assert executor.ids == [first.spec.id]


def test_run_leased_by_another_process_is_tried_again_and_costs_no_retry(make_run: MakeRun, store: RunStore) -> None:
    run, problems = make_run("flat"), list[str]()
    executor = ScriptedExecutor({run.spec.id: [{"leased": True}] * 5})
    assert Scheduler(tasks_of(run), store, executor, Reporter(problem=problems.append)).run() == {}
    assert executor.ids == [run.spec.id] * 6
    assert problems == []


def test_finished_runs_are_started_only_with_force(make_run: MakeRun, store: RunStore) -> None:
    run = make_run("flat")
    record_status(store, run, "finished")
    for force, starts in ((False, 0), (True, 1)):
        executor = ScriptedExecutor()
        assert Scheduler(tasks_of(run, force=force), store, executor, Reporter()).run() == {}
        assert len(executor.started) == starts


@pytest.mark.parametrize(("status", "forced"), [("finished", True), ("running", False)])
def test_lost_forced_run_starts_over_only_while_the_old_record_is_there(
    status: str, forced: bool, make_run: MakeRun, store: RunStore
) -> None:
    """A forced run without a finished record has already started over, and is resumed."""
    run = make_run("flat")
    record_status(store, run, status)
    executor = ScriptedExecutor({run.spec.id: [{"lost": "its worker was killed"}]})
    assert Scheduler(tasks_of(run, force=True), store, executor, Reporter()).run() == {}
    assert [task.job.force for task in executor.started] == [True, forced]


def test_run_that_failed_before_is_retried_and_one_that_fails_elsewhere_meanwhile_is_not(
    make_run: MakeRun, store: RunStore
) -> None:
    failed_before, fails_elsewhere = make_run("flat"), make_run("standard")
    record_status(store, failed_before, "failed", reason="diverged")
    executor = ScriptedExecutor()
    scheduler = Scheduler(tasks_of(failed_before, fails_elsewhere), store, executor, Reporter())
    record_status(store, fails_elsewhere, "failed", reason="memory ran out")
    assert scheduler.run() == {fails_elsewhere.spec.id: "memory ran out"}
    assert executor.ids == [failed_before.spec.id]


@pytest.mark.parametrize(("presses", "calls"), [(1, ["stop"]), (2, ["stop", "kill"])])
def test_ctrl_c_stops_the_executor_and_a_second_one_kills(
    presses: int, calls: list[str], make_run: MakeRun, store: RunStore
) -> None:
    class Interrupted(ScriptedExecutor):
        def ended(self) -> list[Outcome]:
            raise KeyboardInterrupt

        def stop(self) -> None:
            super().stop()
            if presses == 2:
                raise KeyboardInterrupt

    executor, problems = Interrupted(), list[str]()
    with pytest.raises(KeyboardInterrupt):
        Scheduler(tasks_of(make_run("flat")), store, executor, Reporter(problem=problems.append)).run()
    assert executor.calls == calls
    assert problems[0].startswith("stopping: ")


def test_error_of_the_executor_stops_it(make_run: MakeRun, store: RunStore) -> None:
    class Broken(ScriptedExecutor):
        def ended(self) -> list[Outcome]:
            raise RuntimeError("connection lost")

    executor = Broken()
    with pytest.raises(RuntimeError, match="connection lost"):
        Scheduler(tasks_of(make_run("flat")), store, executor, Reporter()).run()
    assert executor.calls == ["stop"]


def test_stale_lease_of_another_machine_is_taken_over(
    make_run: MakeRun, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.5)
    run = make_run("flat")
    leases = store.lease_folder(run.spec)
    leases.mkdir(parents=True)
    foreign = {"host": "far", "boot": "b", "pid": 1, "token": "t", "beat": 0, "state": "held"}
    (leases / "000001.json").write_text(json.dumps(foreign))
    settings = WorkerSettings(runs=store.root, compute=ComputeSettings(threads=1, allocator="system"))

    class InProcess(ScriptedExecutor):
        """Executes runs at once, in this process."""

        def start(self, tasks: Sequence[Task]) -> None:
            self._ended += [attempt(task.job, settings) for task in tasks]

    assert Scheduler(tasks_of(run), store, InProcess(free=1), Reporter()).run() == {}
    assert store.status(run.spec) == "finished"
    assert not leases.exists()
