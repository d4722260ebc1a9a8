"""Scheduler: gives runs to an executor, parent runs first, and retries lost ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stampbench.benchmark.environment.progress import RunCounts
from stampbench.benchmark.execution.executors.base import Executor, Outcome
from stampbench.benchmark.execution.job import Task
from stampbench.benchmark.execution.summary import summary_line
from stampbench.benchmark.records.lease import LeaseWatch
from stampbench.benchmark.records.run_store import RunStore

_POLL_SECONDS = 0.2
_LATER_SECONDS = 5.0
_TRIES = 3


def _ignore(_: object) -> None: ...


class Reporter(NamedTuple):
    """Callbacks of a scheduler.

    Attributes:
        done: called with a line about each finished run.
        problem: called with a line about each failure, loss or interruption.
        traceback: called with the traceback of each failure.
        show: called with the present counts, several times a second.
    """

    done: Callable[[str], None] = _ignore
    problem: Callable[[str], None] = _ignore
    traceback: Callable[[str], None] = _ignore
    show: Callable[[RunCounts], None] = _ignore


class Scheduler:
    """Executes tasks of one store with one executor.

    A run that another scheduler over the same store executes is waited for, and taken over when its lease is stale.
    A run whose process is lost is retried, up to three tries.
    """

    def __init__(self, tasks: Sequence[Task], store: RunStore, executor: Executor, report: Reporter) -> None:
        """`tasks` are in an order in which parents come first; finished runs may be among them."""
        self._total = len(tasks)
        self._waiting = {task.job.id: task for task in tasks}
        self._running = dict[str, Task]()
        self._failed, self._tries, self._later = dict[str, str](), Counter[str](), dict[str, float]()
        self._done, self._watch = 0, LeaseWatch()
        self._store, self._executor, self._report = store, executor, report
        self._failed_before = {task.job.id for task in tasks if store.status(task.run.spec) == "failed"}

    def run(self) -> dict[str, str]:
        """Execute all tasks; return the reasons of failed runs by id.

        Raises:
            KeyboardInterrupt: after running runs have saved their state; a second Ctrl-C ends them at once.
        """
        try:
            while self._waiting or self._running:
                ready = self._ready()
                for task in ready:
                    self._running[task.job.id] = self._waiting.pop(task.job.id)
                if ready:
                    self._executor.start(ready)
                for outcome in self._executor.ended():
                    self._end(outcome)
                self._report.show(self._counts())
                self._pause()
        except KeyboardInterrupt:
            self._report.problem("stopping: running runs save their state; press Ctrl-C again to end them at once")
            try:
                self._executor.stop()
            except KeyboardInterrupt:
                self._executor.kill()
            raise
        except BaseException:
            self._executor.stop()
            raise
        self._executor.stop()
        return self._failed

    def _ready(self) -> list[Task]:
        """Return the tasks to start now; tasks that need not or cannot start leave the queue."""
        ready, room = list[Task](), self._executor.free
        for id, task in list(self._waiting.items()):
            if len(ready) >= room:
                break
            spec = task.run.spec
            parents = {parent.spec.id for parent in task.run.parents.values()}
            unfinished = any(each in self._waiting or each in self._running for each in parents)
            if broken := parents & set(self._failed):
                del self._waiting[id]
                self._fail(task, f"its parent run {min(broken)} failed")
            elif unfinished or self._later.get(id, 0) > time.monotonic():
                continue
            elif not task.job.force and self._store.status(spec) == "finished":
                del self._waiting[id]
                self._done += 1
            elif id not in self._failed_before and self._store.status(spec) == "failed":  # elsewhere, just now
                del self._waiting[id]
                self._fail(task, self._store.reason(spec))
            elif not self._watch.free(self._store.lease_folder(spec)):
                self._later[id] = time.monotonic() + _LATER_SECONDS
            else:
                ready.append(task)
        return ready

    def _pause(self) -> None:
        """Wait before the next look: for running tasks, or for leases of other processes."""
        now = time.monotonic()
        if self._running:
            time.sleep(self._executor.poll_seconds)
        elif self._waiting and all(self._later.get(id, 0) > now for id in self._waiting):
            time.sleep(_POLL_SECONDS)

    def _end(self, outcome: Outcome) -> None:
        task = self._running.pop(outcome.id)
        if outcome.summary is not None:
            self._done += 1
            self._report.done(f"{task.job.id}  {task.job.title}: {summary_line(outcome.summary)}")
        elif outcome.reason is not None:
            if outcome.traceback:
                self._report.traceback(outcome.traceback)
            self._fail(task, outcome.reason)
        else:  # leased by another process, or lost
            if outcome.lost is not None:
                self._tries[outcome.id] += 1
                if self._tries[outcome.id] >= _TRIES:
                    self._fail(task, f"{outcome.lost}, {_TRIES} times")
                    return
                again = f"retrying ({self._tries[outcome.id] + 1} of {_TRIES})"
                self._report.problem(f"{task.job.id}  {task.job.title}: {outcome.lost}; {again}")
            # A lost run that had started over is resumed; a finished record has still to be replaced.
            force = task.job.force and self._store.status(task.run.spec) == "finished"
            self._waiting[outcome.id] = task._replace(job=task.job.model_copy(update={"force": force}))
            self._later[outcome.id] = time.monotonic() + (_LATER_SECONDS if outcome.leased else 0)

    def _fail(self, task: Task, reason: str) -> None:
        self._failed[task.job.id] = reason
        self._report.problem(f"{task.job.id}  {task.job.title}: failed: {reason}")

    def _counts(self) -> RunCounts:
        titles = tuple(task.job.title for task in self._running.values())
        elsewhere = len(self._later.keys() & self._waiting.keys())
        return RunCounts(self._done, titles, len(self._failed), elsewhere, self._total)
