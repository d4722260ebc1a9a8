"""Expansion of a suite's grids into planned runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.resolve import (
    resolve_folds,
    resolve_network,
    resolve_protocol,
    resolve_strategies,
)
from stampbench.benchmark.config.resolved import ResolvedNetwork
from stampbench.benchmark.config.suite import Block
from stampbench.benchmark.config.suite_file import SuiteFile
from stampbench.benchmark.config.weights import resolve_weights
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.job import Job, Task
from stampbench.benchmark.execution.nnunet_weights import rebuilt_network
from stampbench.benchmark.execution.run import Draw, Run, plan_run, with_parents
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.strategies.errors import StrategyError

Open = Callable[[DatasetRequest], Dataset]
"""Opens a dataset."""
MOST_RUNS = 100_000
"""Most runs of one grid."""
_Keys = tuple[str | int, ...]


def expand_suite(file: SuiteFile, open_dataset: Open, absent: list[str] | None = None) -> list[Task]:
    """Return every run of a suite and all that they build on, each once, parents first.

    Args:
        file: the suite.
        open_dataset: opens a dataset.
        absent: receives a line for each dataset that is absent, whose runs are skipped; None: that is an error.

    Raises:
        UserError: when something in the suite does not exist or fit; the message names file and line.
    """
    found: dict[DatasetRequest, Dataset | None] = {}
    tasks: dict[str, Task] = {}
    for number, block in enumerate(file.suite.blocks()):
        within: _Keys = ("runs", number) if file.suite.runs else ()
        for request in block.datasets:
            if request not in found:
                found[request] = _open(file, open_dataset, request, absent, (*within, "datasets"))
        opened = {request: dataset for request, dataset in found.items() if dataset is not None}
        present = block.model_copy(update={"datasets": [each for each in block.datasets if each in opened]})
        _merge(tasks, expand_block(present, opened.__getitem__, partial(file.location, *within)))
    return list(tasks.values())


def expand_block(block: Block, open_dataset: Open, locate: Callable[..., str] | None = None) -> list[Task]:
    """Return every run of one grid and all that they build on, each once, parents first.

    Args:
        block: the grid.
        open_dataset: opens a dataset of it.
        locate: returns `file:line` of a key of the grid, for messages; None: it does not come from a file.

    Raises:
        UserError, DatasetError, StrategyError: when something in the grid does not exist or fit.
    """
    tasks: dict[str, Task] = {}
    for request in block.datasets:
        for run in _runs(block, open_dataset(request), locate):
            _merge(
                tasks,
                [
                    Task(each, Job.of(each, request, block.protocol_set), each.spec.id == run.spec.id)
                    for each in with_parents([run])
                ],
            )
    return list(tasks.values())


def _merge(tasks: dict[str, Task], more: Sequence[Task]) -> None:
    for task in more:
        known = tasks.get(task.job.id)
        if known is None:
            tasks[task.job.id] = task
        elif task.requested:
            tasks[task.job.id] = known._replace(requested=True)


def _runs(block: Block, dataset: Dataset, locate: Callable[..., str] | None) -> Iterator[Run]:
    place: _Keys = ("protocol",)
    try:
        protocol = resolve_protocol(block.protocol, block.protocol_set)
        place = ("folds",)
        folds = resolve_folds(block.folds, protocol)
        _check_size(block, len(folds))
        place = ("weights",)
        weights = None if block.weights is None else resolve_weights(Path(block.weights).expanduser())
        networks = []
        for index, entry in enumerate(block.networks):
            place = ("networks", index)
            networks += [resolve_network(entry.name, point) for point in entry.settings()]
        if weights is not None:
            networks = [rebuilt_network(each, weights, dataset) for each in networks]
        for index, entry in enumerate(block.strategies):
            place = ("strategies", index)
            if entry.name == "all" or "," in entry.name:
                raise UserError(f"strategy '{entry.name}': an entry names one strategy")
            for point, network in itertools.product(entry.settings(), networks):
                (resolved,) = resolve_strategies([entry.name], protocol, point)
                _check_network(entry.name, point, network)
                on_network = resolved.on(network).starting_from(weights)
                grid = itertools.product(block.n_train, block.training_sets, folds, block.seeds)
                for size, drawn, fold, seed in grid:
                    draw = Draw(None if size == "all" else size, fold, seed, drawn)
                    yield plan_run(on_network, dataset, protocol, draw)
    except (UserError, DatasetError, ModelError, StrategyError) as error:
        if locate is None:
            raise
        raise UserError(f"{locate(*place)}: {error}") from error


def _check_network(strategy: str, point: Mapping[str, Any], network: ResolvedNetwork | None) -> None:
    """Check that a user does not set a strategy's U-Net and choose another network."""
    for key in ("f", "depth", "convs_per_level"):
        if network is not None and key in point:
            raise UserError(
                f"strategy '{strategy}': {key}={point[key]} is a hyperparameter of the U-Net, and network "
                f"'{network.name}' has its own",
                setting="network",
            )


def _check_size(block: Block, folds: int) -> None:
    """Check the size of a grid before anything is planned."""
    draws = len(block.n_train) * len(block.training_sets) * folds * len(block.seeds)
    networks = sum(entry.variants for entry in block.networks)
    runs = sum(entry.variants for entry in block.strategies) * networks * len(block.datasets) * draws
    if runs > MOST_RUNS:
        raise UserError(f"{runs:,} runs in one grid; at most {MOST_RUNS:,}")


def _open(
    file: SuiteFile, open_dataset: Open, request: DatasetRequest, absent: list[str] | None, place: _Keys
) -> Dataset | None:
    try:
        return open_dataset(request)
    except (UserError, DatasetError) as error:
        if absent is None or isinstance(error, UserError):
            raise UserError(f"{file.location(*place)}: {error}", setting=error.setting) from error
        absent.append(str(error))
        return None
