"""Contradictions within one record: claims that its own files do not support."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stampbench.benchmark.config.resolve import resolve_network, resolve_protocol, resolve_strategy
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.records.run_tables import read_table
from stampbench.benchmark.records.schema import Record
from stampbench.models.errors import ModelError
from stampbench.models.model import parameter_count
from stampbench.models.serialization import load_model
from stampbench.strategies.errors import StrategyError

_WHOLE = 1e-6
"""Accepted distance from a whole number of the overlap that a Dice score implies, relative to the voxels."""
_EQUAL = 1e-6


def find_contradictions(folder: Path, record: Record, cases: pd.DataFrame) -> Iterator[str]:
    """Yield a line for every contradiction.

    Args:
        folder: folder of the run.
        record: its record.
        cases: the scores of its test cases.

    Raises:
        UserError: when a file is missing, or is not a table of a run.
        ModelError: when the network is damaged.
    """
    trajectory = pd.DataFrame(read_table(folder, record, "trajectory.csv"))
    for name in ("pruned.csv", "latency.csv"):
        read_table(folder, record, name)
    yield from _of_the_spec(record, trajectory)
    yield from _of_the_cases(record, cases)
    summary = record.results
    complexity = count_complexity(load_model(folder / "model").architecture, record.spec.dataset.seen)
    for name in ("parameters", "macs", "flops"):
        counted, claimed = getattr(complexity, name), getattr(summary, name)
        if counted != claimed:
            yield f"its architecture has {counted:,} {name}, its summary says {claimed:,}"
    chosen = trajectory[trajectory["step"] == summary.selected_step]
    if chosen.empty or chosen["parameters"].iloc[0] != summary.parameters:
        yield f"its trajectory has no step {summary.selected_step} with {summary.parameters:,} parameters"
    for name, column in (("epochs", "epoch"), ("ranking_passes", "ranking_passes")):
        if getattr(summary, name) < trajectory[column].max():
            yield f"its summary says {getattr(summary, name)} {name}, its trajectory {trajectory[column].max()}"


def _of_the_cases(record: Record, cases: pd.DataFrame) -> Iterator[str]:
    for name in ("dice", "hd95", "msd"):
        mean, claimed = float(cases[name].mean(skipna=False)), float(getattr(record.results, f"test_{name}"))
        if not np.isclose(mean, claimed, rtol=_EQUAL, atol=_EQUAL):
            yield f"its summary says test {name} {claimed:.4f}, its cases {mean:.4f}"
    yield from _impossible(cases)


def _of_the_spec(record: Record, trajectory: pd.DataFrame) -> Iterator[str]:
    spec = record.spec
    if spec.fold >= spec.protocol.folds:
        yield f"fold {spec.fold} does not exist: there are {spec.protocol.folds}, from 0"
    if record.protocol_label != spec.protocol_label:
        yield f"its protocol is called '{record.protocol_label}', but is {spec.protocol_label}"
    try:
        protocol = resolve_protocol(spec.protocol.name, {})
        resolved = resolve_strategy(spec.strategy, protocol, spec.hyperparameters)
        named = spec.network
        network = None if named is None else resolve_network(named.name, named.hyperparameters)
        if network is not None:
            network = network.planned(spec.dataset.seen, record.dataset.spacing)
        if record.label != (label := spec.label(resolved.defaults, None if network is None else network.defaults)):
            yield f"its strategy is called '{record.label}', but is {label}"
        if not spec.parents and spec.weights is None:
            data = record.dataset
            start = resolved.on(network).architecture(spec.dataset.spatial_dims, len(data.channels), len(data.classes))
            expected = parameter_count(start)
            first = int(trajectory["parameters"].iloc[0])
            if first != expected:
                yield f"{spec.strategy} starts with {expected:,} parameters, its trajectory with {first:,}"
    except (UserError, ModelError, StrategyError) as error:
        yield f"its strategy cannot be checked: {error}"


def _impossible(cases: pd.DataFrame) -> Iterator[str]:
    """Yield the first Dice score that is impossible with the voxel counts beside it."""
    both = cases["predicted_voxels"] + cases["reference_voxels"]
    overlap = cases["dice"] * both / 2
    smaller = cases[["predicted_voxels", "reference_voxels"]].min(axis=1)
    whole = ((overlap - overlap.round()).abs() <= _WHOLE * both) & (overlap <= smaller + _WHOLE * both)
    possible = whole.where(both > 0, cases["dice"] == 1)
    for row in cases[~possible].head(1).to_dict("records"):
        yield (
            f"case {row['case']}, {row['class']}: Dice {row['dice']:.4f} is impossible with "
            f"{row['predicted_voxels']:.0f} predicted and {row['reference_voxels']:.0f} labelled voxels"
        )
