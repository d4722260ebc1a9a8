"""Runs as job arrays of a Slurm cluster, through submitit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import submitit

from stampbench.benchmark.environment.signals import treat_termination_like_ctrl_c
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings

_ARRAY = 1000
"""Jobs per array; Slurm's default limit is 1001."""
_PARALLEL = 256
"""Jobs of an array that run at a time."""
_TIMEOUTS = 1000
"""How often a run may reach its time limit and resume from its saved state."""


class SlurmExecutor:
    """A job array for every batch of runs that can start.

    A job that Slurm preempts, or that reaches its time limit, receives a signal, saves its state, and is queued again;
    a later job resumes it.

    Args:
        settings: store, data and compute settings.
        folder: folder of submitit's logs and pickles.
        cluster: `slurm`, or submitit's `local` for tests.
        partition: Slurm's partition; None: its default.
        gpus: GPUs of a job.
        memory_gb: memory of a job, in GB.
        minutes: time limit of a job.

    Raises:
        UserError: when Slurm is not available.
    """

    poll_seconds = 0.2

    def __init__(
        self,
        settings: WorkerSettings,
        folder: Path,
        *,
        cluster: Literal["slurm", "local"] = "slurm",
        partition: str | None = None,
        gpus: int = 0,
        memory_gb: float = 8.0,
        minutes: int = 24 * 60,
    ) -> None:
        threads = settings.compute.threads or 1
        options = {"slurm_partition": partition} if partition else {}
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=_TIMEOUTS)
            self._executor.update_parameters(
                name="stampbench",
                cpus_per_task=threads,
                gpus_per_node=gpus,
                mem_gb=memory_gb,
                timeout_min=minutes,
                slurm_array_parallelism=_PARALLEL,
                **options,
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(f"executor 'slurm': {' '.join(str(error).split())}") from error
        self._settings = settings.with_compute(threads=threads)
        self._running: list[tuple[Job, Any]] = []

    @property
    def free(self) -> int:
        """Jobs that may be submitted at once."""
        return _ARRAY

    def start(self, tasks: Sequence[Task]) -> None:
        """Submit tasks as one array.

        Raises:
            UserError: when Slurm refuses them.
        """
        try:
            with self._executor.batch():
                submitted = [(task.job, self._executor.submit(_Requeued(), task.job, self._settings)) for task in tasks]
        except submitit.core.utils.FailedJobError as error:
            raise UserError(f"executor 'slurm': {' '.join(str(error).split())}") from error
        self._running += submitted

    def ended(self) -> list[Outcome]:
        """Return the outcomes since the last call."""
        outcomes = []
        for job, submitted in list(self._running):
            if not submitted.done():
                continue
            self._running.remove((job, submitted))
            try:
                outcomes.append(submitted.result())
            except Exception as error:  # submitit raises the job's error, or one of its own
                submitted.cancel()  # without accounting, Slurm may have requeued a job that submitit considers lost
                outcomes.append(Outcome(job.id, lost=f"Slurm job {submitted.job_id}: {type(error).__name__}"))
        return outcomes

    def stop(self) -> None:
        """Cancel running jobs; a later job resumes each run from the last saved state."""
        for _, submitted in self._running:
            submitted.cancel()

    def kill(self) -> None:
        """Cancel running jobs."""
        self.stop()


class _Requeued:
    """The callable that submitit pickles; after a signal it is submitted again, and the run resumes."""

    def __call__(self, job: Job, settings: WorkerSettings) -> Outcome:
        treat_termination_like_ctrl_c()  # submitit itself only logs SIGTERM
        return attempt(job, settings)

    def checkpoint(self, job: Job, settings: WorkerSettings) -> Any:
        """Return the submission that replaces a preempted job."""
        return submitit.helpers.DelayedSubmission(self, job, settings)
