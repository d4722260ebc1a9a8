"""A run as plain data, which another process or machine can execute."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel

from stampbench.benchmark.cli.options import load_plugins
from stampbench.benchmark.config.resolve import DatasetRequest, resolve_protocol, resolve_strategy
from stampbench.benchmark.environment import allocator
from stampbench.benchmark.environment.compute_settings import Compute, set_up_process
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.environment.provenance import choose_device
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.runner import Run, execute, plan_run, prepare_cases
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.catalogue import discover
from stampbench.datasets.dataset import Dataset

_Anywhere = Annotated[Path, AfterValidator(Path.absolute)]
"""A path that means the same in another process's folder."""


class Machine(BaseModel, frozen=True):
    """What a run is computed with, and where its data and records are; none of it belongs to the run."""

    runs: _Anywhere
    data_root: _Anywhere | None = None
    plugins: tuple[_Anywhere, ...] = ()
    device: str = "auto"
    threads: int | None = None
    kernels: Literal["fast", "plain"] = "fast"
    allocator: Literal["keep", "system"] = "keep"
    save_memory: bool = False
    deterministic: bool = False
    tf32: bool = False
    save_every: float = 10.0
    environment: dict[str, str] = {}
    """Variables that are set where a run is executed."""
    timed: bool = False
    """Whether latency is measured, which means nothing where other runs share the device."""

    def compute(self) -> Compute:
        device = choose_device(self.device)
        return Compute(
            device, self.kernels, self.save_memory, self.deterministic, self.tf32, self.timed, self.save_every
        )  # fmt: skip


class Job(BaseModel, frozen=True):
    """One run, by what a user would say to get it; `id` is what it has to come out as."""

    id: str
    title: str
    dataset: DatasetRequest
    strategy: str
    hyperparameters: dict[str, Any]
    protocol: str
    protocol_settings: tuple[str, ...]
    n_train: int | None
    fold: int
    seed: int
    force: bool = False
    """Whether a finished record is replaced."""

    @classmethod
    def of(
        cls,
        run: Run,
        dataset: DatasetRequest,
        protocol: str,
        protocol_settings: tuple[str, ...],
        *,
        force: bool = False,
    ) -> Job:
        """The job that makes `run`; the dataset and the protocol as the user gave them."""
        return cls(
            id=run.spec.id,
            title=run.title,
            dataset=dataset,
            strategy=run.choice.name,
            hyperparameters=run.spec.hyperparameters,
            protocol=protocol,
            protocol_settings=protocol_settings,
            n_train=run.spec.n_train,
            fold=run.spec.fold,
            seed=run.spec.seed,
            force=force,
        )

    def plan(self, data_root: Path | None) -> Run:
        """Raises:
        UserError: here it is another run, since data or packages differ.
        """
        protocol = resolve_protocol(self.protocol, self.protocol_settings)
        choice = resolve_strategy(self.strategy, protocol, self.hyperparameters)
        run = plan_run(
            choice, _opened(self.dataset, data_root), protocol, n_train=self.n_train, fold=self.fold, seed=self.seed
        )
        if run.spec.id != self.id:
            raise UserError(
                f"{self.title}: is run {self.id} where it was asked for, but {run.spec.id} here: "
                "data, plug-ins or versions of stampbench differ"
            )
        return run


def perform(job: Job, machine: Machine) -> dict[str, Any]:
    """Execute a job in this process and return the run's summary.

    Raises:
        TrainingFailedError: the run failed, and is recorded so.
        UserError, DatasetError, ModelError, StrategyError: it could not be begun; RunLeasedError is one of them.
    """
    os.environ.update(machine.environment)
    _load_plugins(machine.plugins)
    set_up_process(machine.threads, keep_heap=False, deterministic=machine.deterministic, tf32=machine.tf32)
    compute, progress = machine.compute(), Progress(job.title, 1, quiet=True)
    run = job.plan(machine.data_root)
    prepared = prepare_cases([run], progress)
    if machine.allocator == "keep":
        allocator.keep_heap()
    summary = execute(run, prepared, RunStore(machine.runs), compute, progress, force=job.force)
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()
    return summary


@lru_cache
def _load_plugins(plugins: tuple[Path, ...]) -> None:
    """Once in a process; what cannot be loaded was told where the job was made."""
    for _ in discover():
        pass
    load_plugins(plugins)


@lru_cache(maxsize=4)
def _opened(dataset: DatasetRequest, data_root: Path | None) -> Dataset:
    return dataset.open(data_root)
