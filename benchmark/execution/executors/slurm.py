"""Runs as job arrays of a Slurm cluster, through submitit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import submitit

from stampbench.benchmark.environment.progress import end_like_ctrl_c
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Machine

_ARRAY = 1000
"""Slurm's default for the longest array is 1001."""
_TIMEOUTS = 1000
"""A run that goes on from its state may reach the time limit as often as it likes."""


class SlurmExecutor:
    """An array of jobs for every batch of runs that may start.

    A job that Slurm preempts, or that reaches its time limit, is signalled, saves its state, and is put into the
    queue again; there it goes on. Logs and pickles of submitit are in `folder`.
    """

    def __init__(
        self,
        machine: Machine,
        folder: Path,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        partition: str | None = None,
        gpus: int = 0,
        memory_gb: float = 8.0,
        minutes: int = 24 * 60,
        at_a_time: int = 256,
    ) -> None:
        """Raises:
        UserError: there is no Slurm here.
        """
        threads = machine.threads or 1
        options = {"slurm_partition": partition} if partition else {}
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=_TIMEOUTS)
            self._executor.update_parameters(
                name="stampbench",
                cpus_per_task=threads,
                gpus_per_node=gpus,
                mem_gb=memory_gb,
                timeout_min=minutes,
                slurm_array_parallelism=at_a_time,
                **options,
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"--executor slurm: {' '.join(str(error).split())}") from error
        self._machine = machine.model_copy(update={"threads": threads})
        self._running: list[tuple[Job, Any]] = []

    @property
    def free(self) -> int:
        return _ARRAY

    def start(self, jobs: Sequence[Job]) -> None:
        try:
            with self._executor.batch():
                submitted = [(job, self._executor.submit(_Requeued(), job, self._machine)) for job in jobs]
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"--executor slurm: {' '.join(str(error).split())}") from error
        self._running += submitted

    def ended(self) -> list[Outcome]:
        outcomes = []
        for job, submitted in list(self._running):
            if not submitted.done():
                continue
            self._running.remove((job, submitted))
            try:
                outcomes.append(submitted.result())
            except Exception as error:  # submitit raises what the job raised, or its own
                submitted.cancel()  # without accounting, Slurm may have requeued what submitit takes for lost
                outcomes.append(Outcome(job.id, lost=f"Slurm job {submitted.job_id}: {type(error).__name__}"))
        return outcomes

    def stop(self) -> None:
        """Cancelled; what they saved a few seconds ago is gone on from."""
        for _, submitted in self._running:
            submitted.cancel()

    def kill(self) -> None:
        self.stop()


class _Requeued:
    """What submitit pickles; after a signal it is submitted again as it is, and goes on from the resume state."""

    def __call__(self, job: Job, machine: Machine) -> Outcome:
        end_like_ctrl_c()  # submitit only logs SIGTERM
        return attempt(job, machine)

    def checkpoint(self, job: Job, machine: Machine) -> Any:
        return submitit.helpers.DelayedSubmission(self, job, machine)
