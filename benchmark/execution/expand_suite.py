"""From a suite to its runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from stampbench.benchmark.config.resolve import (
    DatasetRequest,
    resolve_folds,
    resolve_n_train,
    resolve_protocol,
    resolve_strategies,
)
from stampbench.benchmark.config.suite import Block, Document
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.job import Job
from stampbench.benchmark.execution.runner import Run, plan_run, with_parents
from stampbench.benchmark.execution.scheduler import Task
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.errors import DatasetError
from stampbench.strategies.errors import StrategyError


def unfold(document: Document, data_root: Path | None, absent: list[str] | None = None) -> list[Task]:
    """Every run of a suite and all that they build on, each once, parents first.

    Args:
        absent: gets a line for each dataset that is not here, whose runs are then left out; None: that is an error.

    Raises:
        UserError, DatasetError, StrategyError: something of the suite that does not exist or fit, with its line.
    """
    tasks: dict[str, Task] = {}
    opened: dict[DatasetRequest, Dataset | None] = {}
    for number, block in enumerate(document.suite.blocks()):
        within: tuple[str | int, ...] = ("runs", number) if document.suite.runs else ()
        for dataset in block.datasets:
            if dataset not in opened:
                opened[dataset] = _open(document, dataset, data_root, absent, (*within, "datasets"))
            found = opened[dataset]
            if found is not None:
                for run in _runs(document, block, found, within):
                    for each in with_parents([run]):
                        if each.spec.id not in tasks:
                            settings = tuple(f"{key}={value}" for key, value in block.protocol_set.items())
                            tasks[each.spec.id] = Task(each, Job.of(each, dataset, block.protocol, settings))
    return list(tasks.values())


def _runs(document: Document, block: Block, dataset: Dataset, within: tuple[str | int, ...]) -> Iterator[Run]:
    settings = [f"{key}={value}" for key, value in block.protocol_set.items()]
    place: tuple[str | int, ...] = (*within, "protocol")
    try:
        protocol = resolve_protocol(block.protocol, settings)
        place = (*within, "folds")
        folds = resolve_folds(block.folds, protocol)
        place = (*within, "n_train")
        sizes = [resolve_n_train(each) for each in block.n_train]
        for index, entry in enumerate(block.strategies):
            place = (*within, "strategies", index)
            if entry.name == "all" or "," in entry.name:
                raise UserError(f"strategy '{entry.name}': an entry names one strategy")
            for point in entry.settings():
                (choice,) = resolve_strategies(entry.name, protocol, point)
                for size, fold, seed in itertools.product(sizes, folds, block.seeds):
                    yield plan_run(choice, dataset, protocol, n_train=size, fold=fold, seed=seed)
    except (UserError, DatasetError, StrategyError) as error:
        raise UserError(f"{document.place(*place)}: {error}") from error


def _open(
    document: Document, dataset: DatasetRequest, data_root: Path | None, absent: list[str] | None,
    place: tuple[str | int, ...],
) -> Dataset | None:  # fmt: skip
    try:
        return dataset.open(data_root)
    except (UserError, DatasetError) as error:
        if absent is None or isinstance(error, UserError):
            raise UserError(f"{document.place(*place)}: {error}") from error
        absent.append(str(error))
        return None
