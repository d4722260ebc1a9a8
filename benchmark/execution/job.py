"""Jobs: planned runs as plain data, which another process or machine can execute."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import AfterValidator, BaseModel

from stampbench.benchmark.config import plugins
from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.resolve import resolve_network, resolve_protocol, resolve_strategy
from stampbench.benchmark.config.spec import NetworkIdentity
from stampbench.benchmark.config.weights import resolve_weights
from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Draw, Run, plan_run, prepare_cases
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.datasets.dataset import Dataset

_Absolute = Annotated[Path, AfterValidator(Path.absolute)]
"""A path that is valid in another process's working directory."""


class WorkerSettings(BaseModel, frozen=True):
    """Where a worker finds data and writes records, and how it computes; none of it belongs to a run's id.

    Attributes:
        runs: root of the store.
        data_root: folder that holds the named datasets' folders.
        plugins: files that define plug-in strategies.
        compute: compute settings.
        environment: environment variables to set.
        timed: whether latency is measured, which is meaningless while other runs share the device.
    """

    runs: _Absolute
    data_root: _Absolute | None = None
    plugins: tuple[_Absolute, ...] = ()
    compute: ComputeSettings = ComputeSettings()
    environment: dict[str, str] = {}
    timed: bool = False

    def with_compute(self, **changes: Any) -> WorkerSettings:
        """Return the same settings with other compute settings."""
        return self.model_copy(update={"compute": self.compute.model_copy(update=changes)})


class Job(BaseModel, frozen=True):
    """One run, by names and settings as a user gives them; `id` is the id that it must get."""

    id: str
    title: str
    dataset: DatasetRequest
    strategy: str
    hyperparameters: dict[str, Any]
    network: NetworkIdentity | None = None
    protocol: str
    protocol_settings: dict[str, Any]
    n_train: int | None
    fold: int
    seed: int
    training_set: int = 0
    weights: _Absolute | None = None
    force: bool = False
    """Whether a finished record is replaced."""

    @classmethod
    def of(cls, run: Run, dataset: DatasetRequest, protocol_settings: Mapping[str, Any]) -> Job:
        """Return the job of a run; dataset and protocol settings are those that the user gave."""
        return cls(
            id=run.spec.id,
            title=run.title,
            dataset=dataset,
            strategy=run.resolved.name,
            hyperparameters=run.spec.hyperparameters,
            network=run.spec.network,
            protocol=run.spec.protocol.name,
            protocol_settings=dict(protocol_settings),
            n_train=run.spec.n_train,
            fold=run.spec.fold,
            seed=run.spec.seed,
            training_set=run.spec.training_set,
            weights=None if run.resolved.weights is None else run.resolved.weights.path,
        )

    def plan(self, data_root: Path | None) -> Run:
        """Plan the run here.

        Raises:
            UserError: when it gets another id, because data or packages differ.
        """
        protocol = resolve_protocol(self.protocol, self.protocol_settings)
        named = self.network
        network = None if named is None else resolve_network(named.name, named.hyperparameters)
        resolved = resolve_strategy(self.strategy, protocol, self.hyperparameters).on(network)
        if self.weights is not None:
            resolved = resolved.starting_from(resolve_weights(self.weights))
        draw = Draw(self.n_train, self.fold, self.seed, self.training_set)
        run = plan_run(resolved, _opened(self.dataset, data_root), protocol, draw)
        if run.spec.id != self.id:
            raise UserError(
                f"{self.title}: has the id {run.spec.id} here, but {self.id} where it was planned: "
                "data, weights, plug-ins or versions of stampbench differ"
            )
        return run


class Task(NamedTuple):
    """A run, its job, and whether it was requested itself or is only the parent of a requested run."""

    run: Run
    job: Job
    requested: bool = True


def execute_job(job: Job, settings: WorkerSettings) -> Summary:
    """Execute a job in this process and return the run's summary.

    Raises:
        TrainingFailedError: when the run fails; it is recorded as failed.
        UserError, DatasetError, ModelError, StrategyError: when it cannot start; RunLeasedError is one of them.
    """
    os.environ.update(settings.environment)
    _load_plugins(settings.plugins)
    configure_process(settings.compute)
    progress = Progress(job.title, 1, quiet=True)
    run = job.plan(settings.data_root)
    return execute_planned(run, settings, progress, force=job.force)


def execute_planned(run: Run, settings: WorkerSettings, progress: Progress, *, force: bool) -> Summary:
    """Prepare a run's data and execute it in this process, which is configured already.

    Args:
        run: the run.
        settings: store and compute settings.
        progress: where progress is shown.
        force: whether a finished record is replaced.

    Raises:
        RunLeasedError, TrainingFailedError, UserError, DatasetError, ModelError: as `execute` and preparation do.
    """
    _release_gpu()  # what a failed run held until its error was reported
    prepared = prepare_cases([run], progress)
    if settings.compute.allocator == "keep":  # not earlier: preparation needs large blocks that training does not
        keep_heap()
    place = Workplace(RunStore(settings.runs), settings.compute, progress, settings.timed)
    summary = execute(run, prepared, place, force=force)
    _release_gpu()
    return summary


def _release_gpu() -> None:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        gc.collect()
        torch.cuda.empty_cache()


@lru_cache
def _load_plugins(files: tuple[Path, ...]) -> None:
    """Load plug-ins, once in a process; the planning process has reported those that cannot be loaded."""
    plugins.discover()
    plugins.load_plugins(files)


@lru_cache(maxsize=4)
def _opened(dataset: DatasetRequest, data_root: Path | None) -> Dataset:
    return dataset.open(data_root)
