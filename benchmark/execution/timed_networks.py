"""Networks that `stampbench latency` times: recorded ones, their checkpoints, and untrained ones of strategies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.machine import timing_machine
from stampbench.benchmark.environment.precision import Precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.interleaved_timing import Round
from stampbench.benchmark.measure.latency import Cell, time_networks
from stampbench.benchmark.measure.latency_row import LatencyRow
from stampbench.benchmark.measure.memory import out_of_memory
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import architectures_of, read_table
from stampbench.benchmark.records.schema import Record
from stampbench.models.model import Model, build


class NetworksToTime(NamedTuple):
    """Networks to compare.

    Attributes:
        networks: networks by name, the reference first.
        size: spatial size at which they are timed; None: sizes differ.
        steps: numbers of the checkpoints of those that are part of a trajectory, by name.
        precisions: precisions of those whose runs were tested in a low precision, by name; they keep it.
    """

    networks: Mapping[str, Model]
    size: tuple[int, ...] | None
    steps: Mapping[str, int] = {}
    precisions: Mapping[str, Precision] = {}

    @property
    def spatial_dims(self) -> int:
        """Spatial dims of the networks."""
        return next(iter(self.networks.values())).architecture.spatial_dims

    def at(self, size: tuple[int, ...]) -> NetworksToTime:
        """Return the networks at another size.

        Raises:
            UserError: when a network does not accept it.
        """
        _check_comparable(self.networks, size)
        return self._replace(size=size)


def find_networks(
    runs_folder: Path,
    runs: Sequence[str],
    trajectory: int | None,
    strategies: tuple[Sequence[str], Mapping[str, Any]],
    request: DatasetRequest | None,
    data_root: Path | None,
) -> NetworksToTime:
    """Collect networks; `standard` comes first, if it is among them.

    Args:
        runs_folder: the store.
        runs: ids or folders of recorded runs.
        trajectory: number of evenly spaced checkpoints of each run; None: its selected network.
        strategies: names of strategies, and hyperparameters; with hyperparameters their networks are untrained.
        request: the strategies' dataset.
        data_root: folder that holds the named datasets' folders.

    Raises:
        UserError: when there are none, or they do not accept the same images.
    """
    store = RunStore(runs_folder)
    precisions: dict[str, Precision] = {}
    networks, size, steps = _recorded(store, runs, trajectory, precisions)
    names, settings = strategies
    if names and request is not None:
        named, size = _named(store, (names, settings), request, data_root, precisions)
        networks = named | networks
    if not networks:
        raise UserError("nothing to time: name runs, or strategies and a dataset")
    # Networks that were tested as they were trained come first, so that the reference is one of them.
    networks = dict(
        sorted(networks.items(), key=lambda item: (item[0] in precisions, item[0].split()[0] != "standard"))
    )
    if size is not None:
        _check_comparable(networks, size)
    return NetworksToTime(networks, size, steps, precisions)


def time_cell(
    found: NetworksToTime, device: torch.device, cell: Cell, seconds: float, report: Callable[[str], None]
) -> tuple[list[LatencyRow], list[Round]]:
    """Time all networks in one way; return the rows of their table, and the rounds that these come from.

    Args:
        found: the networks.
        device: the device.
        cell: how they are timed.
        seconds: time budget.
        report: called with a line about each phase.

    Raises:
        UserError: when sizes differ, the backend does not support the device or precision, or memory is used up.
    """
    if found.size is None:
        raise UserError("these runs have images of different sizes; choose a shape to time")
    first = next(iter(found.networks.values()))
    own = found.precisions
    try:
        torch.manual_seed(0)
        image = torch.randn(1, first.architecture.in_channels, *found.size, device=device)
        timed = time_networks(found.networks, image, cell, own_precisions=own, seconds=seconds, report=report)
    except Exception as error:  # every runtime has its own
        if not out_of_memory(error):
            raise
        batch = "the saturating batch" if cell.batch is None else f"a batch of {cell.batch:,}"
        raise UserError(f"{batch} needs more memory than {device} has; choose smaller batches or images") from error
    machine = timing_machine(device).model_dump()
    rows = [LatencyRow(**row.model_dump(), **machine, step=found.steps.get(row.network)) for row in timed.rows]
    return rows, timed.rounds


def _recorded(
    store: RunStore, runs: Sequence[str], trajectory: int | None, precisions: dict[str, Precision]
) -> tuple[dict[str, Model], tuple[int, ...] | None, dict[str, int]]:
    """Return the networks of recorded runs by label and id, their size if it is the same, and checkpoints' numbers.

    Args:
        store: the store.
        runs: ids or folders.
        trajectory: number of checkpoints of each run; None: its selected network.
        precisions: receives the precisions of networks whose runs were tested in a low one.
    """
    networks: dict[str, Model] = {}
    steps: dict[str, int] = {}
    sizes: set[tuple[int, ...]] = set()
    for text in runs:
        folder, record = store.find(text)
        sizes.add(record.spec.dataset.seen)
        name = f"{record.label} {record.id}"
        low = record.spec.test_precision
        if trajectory is None:
            networks[name] = store.model(text)[0]
            precisions |= {} if low is None else {name: low}
            continue
        architectures = architectures_of(folder, read_table(folder, record, "trajectory.csv"))
        for step in sorted(set(np.linspace(0, len(architectures) - 1, trajectory).round().astype(int))):
            # Weights do not affect latency, and only those of the selected checkpoint are stored.
            networks[f"{name} step {step}"] = build(architectures[step])
            steps[f"{name} step {step}"] = int(step)
            precisions |= {} if low is None else {f"{name} step {step}": low}
    return networks, sizes.pop() if len(sizes) == 1 else None, steps


def _named(
    store: RunStore,
    strategies: tuple[Sequence[str], Mapping[str, Any]],
    request: DatasetRequest,
    data_root: Path | None,
    precisions: dict[str, Precision],
) -> tuple[dict[str, Model], tuple[int, ...]]:
    """Return, for each strategy, the latest network recorded on the dataset, else the one that it starts with.

    Args:
        store: the store.
        strategies: names of strategies, and hyperparameters.
        request: the dataset.
        data_root: folder that holds the named datasets' folders.
        precisions: receives the precisions of networks whose runs were tested in a low one.

    Raises:
        UserError: when a strategy trains nothing and no run of it is recorded.
    """
    dataset, (names, settings) = request.open(data_root), strategies
    networks: dict[str, Model] = {}
    latest: dict[str, tuple[str, Path, Record]] = {}
    for folder, record in store.records([]):
        identity = record.spec.dataset
        if (identity.name, identity.seen) == (dataset.name, dataset.seen):
            name = record.spec.strategy
            if name not in latest or (str(record.ended), folder) > latest[name][:2]:
                latest[name] = (str(record.ended), folder, record)
    for resolved in resolve_strategies(names, resolve_protocol("paper", {}), settings):
        if resolved.name in latest and not settings:
            _, folder, record = latest[resolved.name]
            networks[f"{resolved.name} {record.id}"] = store.model(str(folder))[0]
            if record.spec.test_precision is not None:
                precisions[f"{resolved.name} {record.id}"] = record.spec.test_precision
        elif not resolved.strategy.trains:
            raise UserError(f"strategy '{resolved.name}' has no network of its own; name a run of it")
        else:
            start = resolved.strategy.start(dataset.spatial_dims, len(dataset.channels), len(dataset.classes))
            networks[f"{resolved.name} (untrained start)"] = build(start)  # weights do not affect latency
    return networks, dataset.seen


def _check_comparable(networks: Mapping[str, Model], size: tuple[int, ...]) -> None:
    """Check that all networks accept the same images."""
    architectures = {name: network.architecture for name, network in networks.items()}
    (first, one), *others = architectures.items()
    for name, other in others:
        if (other.spatial_dims, other.in_channels) != (one.spatial_dims, one.in_channels):
            raise UserError(
                f"'{first}' takes {one.in_channels} channels in {one.spatial_dims}D, '{name}' {other.in_channels} in "
                f"{other.spatial_dims}D; a table compares networks that accept the same images"
            )
    for name, each in architectures.items():
        for edge, divisor in zip(size, each.divisors, strict=True):
            if edge % divisor:
                raise UserError(f"'{name}' needs sizes that are multiples of {divisor}, not {edge}")
