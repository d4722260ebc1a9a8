"""Launch of planned runs: prepares their data, chooses the executor, and starts the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from stampbench.benchmark.environment.compute_settings import configure_process
from stampbench.benchmark.environment.cudnn import precision_warnings
from stampbench.benchmark.environment.device import busy_warning
from stampbench.benchmark.environment.progress import Progress, ScheduleProgress
from stampbench.benchmark.environment.signals import treat_termination_like_ctrl_c
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.executors.base import Executor
from stampbench.benchmark.execution.job import Task, WorkerSettings
from stampbench.benchmark.execution.run import Run, prepare_cases
from stampbench.benchmark.execution.scheduler import Reporter, Scheduler
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.preparation.duplicates import REMEDY, find_copies, find_duplicates


class ExecutorSettings(BaseModel, frozen=True, extra="forbid"):
    """Where runs are executed, and how many at a time."""

    executor: Literal["serial", "local", "ray", "slurm"] | None = Field(
        None,
        description="serial: one after the other in this process; local: worker processes of this machine; ray, slurm: "
        "a cluster; None: serial, or local if jobs > 1 or gpus > 0",
    )
    jobs: int = Field(1, ge=1, le=10_000, description="runs at a time on this machine, each in a process of its own")
    gpus: float = Field(
        0.0, ge=0, le=10_000, description="local: GPUs to share out; ray: fraction per run; slurm: GPUs per job"
    )
    ray_address: str | None = Field(None, description="address of a Ray cluster; None: the one around, or a new one")
    partition: str | None = Field(None, description="partition of Slurm")
    memory_gb: float = Field(8.0, gt=0, le=1e6, description="memory of a Slurm job, in GB")
    minutes: int = Field(24 * 60, ge=1, le=10**7, description="time limit of a Slurm job, in minutes")

    @property
    def kind(self) -> Literal["serial", "local", "ray", "slurm"]:
        """The executor, chosen if none is named."""
        return self.executor or ("serial" if self.jobs == 1 and self.gpus == 0 else "local")

    @property
    def timed(self) -> bool:
        """Whether latency can be measured: one run at a time on this machine."""
        return self.kind in ("serial", "local") and self.jobs == 1


def launch(
    tasks: Sequence[Task],
    workers: WorkerSettings,
    executors: ExecutorSettings,
    report: Reporter,
    *,
    title: str,
    quiet: bool = False,
) -> dict[str, str]:
    """Execute tasks and return the reasons of failed runs by id.

    Args:
        tasks: the tasks, parents first.
        workers: store, data and compute settings.
        executors: where runs are executed.
        report: callbacks for lines about runs; the counts are shown by this function.
        title: what the progress of several runs is called.
        quiet: whether no progress is shown.

    Raises:
        UserError: when the store cannot be written or an executor is not available.
        DatasetError: when a case is not usable.
        KeyboardInterrupt: after running runs have saved their state.
    """
    store = RunStore(workers.runs)
    store.check_writable()
    treat_termination_like_ctrl_c()
    configure_process(workers.compute)
    # All known faults are those of 3D convolutions.
    volumes = (task.run.spec for task in tasks if len(task.run.spec.dataset.seen) == 3)
    precisions = (spec.protocol.precision for spec in volumes)
    for fault in precision_warnings(workers.compute.torch_device, precisions):
        report.problem(f"warning: {fault}")
    if executors.kind in ("serial", "local"):
        if warning := busy_warning():
            report.problem(f"warning: {warning}")
        _prepare(tasks, report, quiet=quiet)  # once, not in every worker
    else:
        _find_copies(tasks, report)
    workers = workers.model_copy(update={"timed": executors.timed})
    executor = _executor(executors, workers, len(tasks), quiet=quiet)
    if executors.kind == "serial":  # each run shows its own progress
        return Scheduler(tasks, store, executor, report).run()
    with ScheduleProgress(title, len(tasks), quiet=quiet) as progress:
        return Scheduler(tasks, store, executor, report._replace(show=progress.show)).run()


def _prepare(tasks: Sequence[Task], report: Reporter, *, quiet: bool) -> None:
    for dataset, runs in _by_dataset(tasks):
        with Progress(dataset.name, 1, quiet=quiet) as progress:
            prepared = prepare_cases(runs, progress)
        _warn_of_duplicates(dataset, find_duplicates((c.id, c.subject, c.digest) for c in prepared.values()), report)


def _find_copies(tasks: Sequence[Task], report: Reporter) -> None:
    """Warn of equal image files; preparing all cases to compare their content is up to the nodes of a cluster."""
    for dataset, _ in _by_dataset(tasks):
        _warn_of_duplicates(dataset, find_copies(dataset.reader.cases), report)


def _by_dataset(tasks: Sequence[Task]) -> list[tuple[Dataset, list[Run]]]:
    found: dict[int, tuple[Dataset, list[Run]]] = {}
    for task in tasks:
        found.setdefault(id(task.run.dataset), (task.run.dataset, []))[1].append(task.run)
    return list(found.values())


def _warn_of_duplicates(dataset: Dataset, found: list[tuple[tuple[str, ...], bool]], report: Reporter) -> None:
    for same, different_subjects in found:
        if different_subjects:
            report.problem(
                f"warning: {dataset.name}: cases {', '.join(same)} have the same image but different subjects, so "
                f"it may be in both the training and the test set; {REMEDY}"
            )


def _executor(settings: ExecutorSettings, workers: WorkerSettings, total: int, *, quiet: bool) -> Executor:
    kind = settings.kind
    if kind != "local" and settings.jobs != 1:
        raise UserError(f"jobs={settings.jobs} is for the executor 'local', not for '{kind}'", setting="jobs")
    if kind != "ray" and settings.gpus != int(settings.gpus):
        raise UserError(f"gpus={settings.gpus:g}: a fraction of a GPU is for the executor 'ray'", setting="gpus")
    if kind == "serial":
        from stampbench.benchmark.execution.executors.serial import SerialExecutor

        return SerialExecutor(workers, total, quiet=quiet)
    if kind == "local":
        from stampbench.benchmark.execution.executors.local import LocalExecutor

        return LocalExecutor(workers, settings.jobs, int(settings.gpus))
    try:
        if kind == "ray":
            from stampbench.benchmark.execution.executors.ray import RayExecutor

            return RayExecutor(workers, settings.ray_address, settings.gpus)
        from stampbench.benchmark.execution.executors.slurm import SlurmExecutor
    except ImportError as error:
        extra = f"pip install 'stampbench[{kind}]'"
        raise UserError(f"executor '{kind}' needs its extra; run: {extra} ({error})") from None
    return SlurmExecutor(
        workers,
        workers.runs / ".slurm",
        partition=settings.partition,
        gpus=int(settings.gpus),
        memory_gb=settings.memory_gb,
        minutes=settings.minutes,
    )
