"""Runs one after the other in this process."""

from __future__ import annotations

from collections.abc import Sequence

from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.executors.base import Outcome, outcome_of
from stampbench.benchmark.execution.job import Task, WorkerSettings, execute_planned
from stampbench.benchmark.records.schema import Summary


class SerialExecutor:
    """Executes one task at a time and shows its progress.

    Args:
        settings: store, data and compute settings; the process is configured already.
        total: number of tasks, for titles.
        quiet: whether no progress is shown.
    """

    poll_seconds = 0.0

    def __init__(self, settings: WorkerSettings, total: int, *, quiet: bool = False) -> None:
        self._settings, self._total, self._quiet = settings, total, quiet
        self._started = 0
        self._task: Task | None = None

    @property
    def free(self) -> int:
        """1 if no task waits, else 0."""
        return int(self._task is None)

    def start(self, tasks: Sequence[Task]) -> None:
        """Accept a task, which `ended` executes."""
        (self._task,) = tasks

    def ended(self) -> list[Outcome]:
        """Execute the accepted task."""
        if self._task is None:
            return []
        task, self._task = self._task, None
        self._started += 1
        return [outcome_of(task.job.id, lambda: self._execute(task))]

    def stop(self) -> None:
        """Do nothing: no task is running between two calls of `ended`."""

    def kill(self) -> None:
        """Do nothing, as `stop`."""

    def _execute(self, task: Task) -> Summary:
        number = f"[{self._started}/{self._total}] " if self._total > 1 else ""
        with Progress(number + task.job.title, task.run.expected.epochs, quiet=self._quiet) as progress:
            return execute_planned(task.run, self._settings, progress, force=task.job.force)
