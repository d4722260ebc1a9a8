"""What a schedule asks of a place where runs are executed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from stampbench.benchmark.errors import RunLeasedError, TrainingFailedError, UserError
from stampbench.benchmark.execution.job import Job, Machine, perform
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.strategies.errors import StrategyError


class Outcome(NamedTuple):
    """How a job ended: with a summary, with a reason, or neither: `lost` with its process, or `claimed` by another."""

    id: str
    summary: dict[str, Any] | None = None
    reason: str | None = None
    claimed: bool = False
    lost: str | None = None


class Executor(Protocol):
    """Takes jobs and says how they ended; what is lost is given to it again by the schedule."""

    @property
    def free(self) -> int:
        """How many more jobs it takes now."""
        ...

    def start(self, jobs: Sequence[Job]) -> None: ...

    def ended(self) -> list[Outcome]:
        """Those that ended since the last call; does not wait."""
        ...

    def stop(self) -> None:
        """End what is under way: it saves its state first."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


def attempt(job: Job, machine: Machine) -> Outcome:
    """Perform a job in this process; whatever it raises but an interruption becomes an outcome."""
    try:
        return Outcome(job.id, summary=perform(job, machine))
    except RunLeasedError:
        return Outcome(job.id, claimed=True)
    except (TrainingFailedError, UserError, DatasetError, ModelError, StrategyError) as error:
        return Outcome(job.id, reason=str(error))
    except Exception as error:  # a plug-in may fail in any way
        return Outcome(job.id, reason=" ".join(f"{type(error).__name__}: {error}".split()))
