"""Interface between the scheduler and what executes runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from stampbench.benchmark.errors import RunLeasedError, TrainingFailedError, UserError
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings, execute_job
from stampbench.benchmark.records.schema import Summary
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.strategies.errors import StrategyError


class Outcome(NamedTuple):
    """How a job ended: exactly one of summary, reason, leased and lost is set.

    Attributes:
        id: id of the run.
        summary: results of a finished run.
        reason: why the run failed.
        leased: whether another process holds the run.
        lost: how the job's process was lost.
        traceback: traceback of a failure, for debugging.
    """

    id: str
    summary: Summary | None = None
    reason: str | None = None
    leased: bool = False
    lost: str | None = None
    traceback: str | None = None


class Executor(Protocol):
    """Executes tasks and returns how they ended; the scheduler retries lost ones.

    Attributes:
        poll_seconds: how long the scheduler waits between two looks while tasks are running.
    """

    poll_seconds: float

    @property
    def free(self) -> int:
        """How many more tasks it accepts now."""
        ...

    def start(self, tasks: Sequence[Task]) -> None:
        """Start tasks."""
        ...

    def ended(self) -> list[Outcome]:
        """Return the outcomes of tasks that have ended since the last call."""
        ...

    def stop(self) -> None:
        """Stop running tasks, which save their state first."""
        ...

    def kill(self) -> None:
        """End running tasks at once."""
        ...


def attempt(job: Job, settings: WorkerSettings) -> Outcome:
    """Execute a job in this process; any error except an interruption becomes an outcome."""
    return outcome_of(job.id, lambda: execute_job(job, settings))


def outcome_of(id: str, action: Callable[[], Summary]) -> Outcome:
    """Return the outcome of executing the run `id`; any error except an interruption becomes an outcome."""
    try:
        return Outcome(id, summary=action())
    except RunLeasedError:
        return Outcome(id, leased=True)
    except (TrainingFailedError, UserError, DatasetError, ModelError, StrategyError) as error:
        return Outcome(id, reason=str(error), traceback=traceback.format_exc())
    except Exception as error:  # a plug-in may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(id, reason=reason, traceback=traceback.format_exc())
