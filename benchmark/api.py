"""Python interface: plan and execute runs, and read their records as data frames.

    from stampbench.benchmark.api import leaderboard, run

    records = run(["standard", "stamp_plus"], dataset="phantom2d", n_train=20, folds=[0], protocol="quick")
    print(leaderboard(records)[["strategy", "dice", "parameters"]])

Errors are the package's exceptions: `UserError`, `DatasetError`, `ModelError`, `StrategyError`, and
`TrainingFailedError` when a run fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import pandas as pd
from pydantic import BaseModel, Field

from stampbench.benchmark.config import plugins
from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.suite import Block
from stampbench.benchmark.config.suite_file import SuiteFile, load_suite
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.epoch_limits import unlimited_strategies
from stampbench.benchmark.execution.expand_suite import expand_block, expand_suite
from stampbench.benchmark.execution.job import Task, WorkerSettings
from stampbench.benchmark.execution.launch import ExecutorSettings, launch
from stampbench.benchmark.execution.open_dataset import open_verified
from stampbench.benchmark.execution.scheduler import Reporter
from stampbench.benchmark.execution.selection import Selection, filter_tasks, select
from stampbench.benchmark.records import tables
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.tables import Records
from stampbench.datasets.dataset import Dataset
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.table_formats import board_frame

__all__ = [
    "ComputeSettings",
    "ExecutorSettings",
    "Records",
    "RunOptions",
    "choose",
    "execute",
    "filter_tasks",
    "leaderboard",
    "open_dataset",
    "plan",
    "read_records",
    "run",
    "run_suite",
]


class RunOptions(BaseModel, frozen=True, extra="forbid"):
    """Where and how runs are executed, with defaults that suit a notebook."""

    runs: Path = Field(Path("runs"), description="root of the store")
    data_root: Path | None = Field(None, description="folder that holds the named datasets' folders")
    plugins: tuple[Path, ...] = Field((), description="Python files that define plug-in strategies")
    compute: ComputeSettings = Field(ComputeSettings(), description="device, threads and numerical options")
    executors: ExecutorSettings = Field(ExecutorSettings(), description="this machine or a cluster; runs at a time")
    force: bool = Field(False, description="execute finished runs again; each old record stays until then")
    retry_failed: bool = Field(True, description="execute failed runs again")
    quiet: bool = Field(True, description="show no progress")

    @property
    def workers(self) -> WorkerSettings:
        """The settings that workers get."""
        return WorkerSettings(runs=self.runs, data_root=self.data_root, plugins=self.plugins, compute=self.compute)


class Draw(TypedDict, total=False):
    """Which repetition of a run: its seed, and the number of its draw of training images; both from 0, the default."""

    seed: int
    training_set: int


def _ignore(_: str) -> None: ...


def open_dataset(name: str, *, data_root: Path | None = None, **form: Any) -> Dataset:
    """Open a dataset.

    Args:
        name: a name, `phantom2d:size=48,cases=20`, or a folder.
        data_root: folder that holds the named datasets' folders.
        **form: `spatial_dims`, `subject_pattern`, `image_size`, `fit`, `patch_size`.

    Raises:
        UserError: when the name is not known or the form does not fit.
        DatasetError: when its files are absent or not usable.
    """
    plugins.discover()
    return validated(DatasetRequest, f"dataset '{name}'", {"name": name, **form}).open(data_root)


def plan(
    grid: Block | SuiteFile,
    options: RunOptions,
    *,
    warn: Callable[[str], None] = _ignore,
    absent: list[str] | None = None,
) -> list[Task]:
    """Plan the runs of a grid or suite and all that they build on, parents first, without training.

    Plug-ins are registered already.

    Args:
        grid: one grid, or a suite.
        options: data root and whether progress is shown.
        warn: called with a line about each problem that does not stop the planning.
        absent: receives a line for each dataset of a suite that is absent, whose runs are skipped; None: that is an
            error.

    Raises:
        UserError, DatasetError, StrategyError: when something in the grid does not exist or fit.
    """
    opened = partial(open_verified, data_root=options.data_root, warn=warn, quiet=options.quiet)
    tasks = expand_suite(grid, opened, absent) if isinstance(grid, SuiteFile) else expand_block(grid, opened)
    for line in unlimited_strategies(tasks):
        warn(line)
    return tasks


def choose(tasks: Sequence[Task], options: RunOptions) -> Selection:
    """Select the planned runs that are to be executed."""
    statuses = RunStore(options.runs).statuses()
    return select(tasks, statuses, force=options.force, retry_failed=options.retry_failed)


def execute(
    tasks: Sequence[Task], options: RunOptions, report: Reporter | None = None, *, title: str = "runs"
) -> dict[str, str]:
    """Execute planned runs; return the reasons of failed ones by id.

    Args:
        tasks: the runs, parents first.
        options: store, compute settings and executors.
        report: callbacks for lines about runs.
        title: what the progress of several runs is called.

    Raises:
        UserError: when the store cannot be written or an executor is not available.
        DatasetError: when a case is not usable.
        KeyboardInterrupt: after running runs have saved their state; the same call resumes them.
    """
    return launch(tasks, options.workers, options.executors, report or Reporter(), title=title, quiet=options.quiet)


def run(
    strategies: str | Sequence[str | Mapping[str, Any]],
    dataset: str | DatasetRequest,
    *,
    networks: str | Sequence[str | Mapping[str, Any]] = "unet",
    weights: str | Path | None = None,
    n_train: int | Literal["all"] = "all",
    folds: Sequence[int] | Literal["all"] = "all",
    protocol: str | tuple[str, Mapping[str, Any]] = "paper",
    options: RunOptions | None = None,
    **draw: Unpack[Draw],
) -> Records:
    """Train strategies on a dataset and return their records; finished runs are read, not repeated.

    Args:
        strategies: names, or mappings with `name`, `set` and `grid` as in a suite file.
        dataset: a name, a folder, or a request with its form.
        networks: names, or mappings with `name`, `set` and `grid`, of networks that the strategies start from.
        weights: trained weights to start from: a file, or the folder of a run or of nnU-Net.
        n_train: training images, validation images included.
        folds: fold numbers.
        protocol: a name, or a name and settings.
        options: store, data root, compute settings, executors.
        **draw: `seed` of the runs, and `training_set`, the number of the draw of training images; both from 0.

    Raises:
        TypeError: when an argument does not exist.
        UserError, DatasetError, ModelError, StrategyError: when a run cannot start.
        TrainingFailedError: when runs fail; the other runs are finished first.
        KeyboardInterrupt: after running runs have saved their state; the same call resumes them.
    """
    if unexpected := sorted(draw.keys() - Draw.__annotations__.keys()):
        raise TypeError(f"run() has no argument '{unexpected[0]}'")
    name, settings = (protocol, {}) if isinstance(protocol, str) else protocol
    block = validated(
        Block,
        "run",
        {
            "strategies": [strategies] if isinstance(strategies, str) else list(strategies),
            "networks": [networks] if isinstance(networks, str) else list(networks),
            "weights": None if weights is None else str(weights),
            "datasets": [dataset],
            "n_train": n_train,
            "folds": folds,
            "seeds": [draw.get("seed", 0)],
            "training_sets": [draw.get("training_set", 0)],
            "protocol": name,
            "protocol_set": dict(settings),
        },
    )
    return _run(block, options or RunOptions(), "run")


def run_suite(name: str, *, quick: bool = False, options: RunOptions | None = None) -> Records:
    """Execute a suite and return its records.

    Args:
        name: a suite of the package, or a YAML file.
        quick: whether to take the suite's quick variant.
        options: store, data root, compute settings, executors.

    Raises:
        UserError, DatasetError, ModelError, StrategyError, TrainingFailedError, KeyboardInterrupt: as `run`.
    """
    file = load_suite(name, quick=quick)
    return _run(file, options or RunOptions(), file.suite.name)


def _run(grid: Block | SuiteFile, options: RunOptions, title: str) -> Records:
    plugins.discover()
    plugins.load_plugins(options.plugins)
    tasks = plan(grid, options)
    selection = choose(tasks, options)
    failed = execute(selection.missing, options, title=title) if selection.missing else {}
    if failed:
        titles = {task.job.id: task.job.title for task in tasks}
        reasons = "; ".join(f"{titles[id]}: {reason}" for id, reason in failed.items())
        raise TrainingFailedError(f"{len(failed)} of {len(tasks)} runs failed: {reasons}")
    records = read_records(options.runs)
    requested = {task.job.id for task in tasks if task.requested}
    return records.of(records.runs[records.runs["run"].isin(requested)])


def read_records(runs: str | Path = "runs", *, problems: list[str] | None = None, trajectories: bool = True) -> Records:
    """Read the finished runs of a store, or of a folder with published tables, as data frames.

    Args:
        runs: the store or folder.
        problems: receives a line for each damaged record, which is skipped; None: a damaged record is an error.
        trajectories: whether trajectories are read.

    Raises:
        UserError: when the folder does not exist, or a record is damaged and `problems` is None.
    """
    found: list[str] = []
    records = tables.read_records(Path(runs), found, trajectories=trajectories)
    if problems is None and found:
        raise UserError(found[0])
    (problems if problems is not None else []).extend(found)
    return records


def leaderboard(records: Records) -> pd.DataFrame:
    """Return all leaderboards as one data frame: what a leaderboard's runs share, then its columns."""
    return board_frame(leaderboards(records.runs, records.cases, records.timings))
