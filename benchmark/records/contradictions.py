"""Contradictions within one record: claims that its own files do not support."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategy
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.records.schema import Record
from stampbench.models.network import parameter_count
from stampbench.models.serialization import load_model
from stampbench.strategies.errors import StrategyError

_WHOLE = 1e-6
"""Accepted distance from a whole number of the overlap that a Dice score implies, relative to the voxels."""
_EQUAL = 1e-6


def find_contradictions(folder: Path, record: Record) -> Iterator[str]:
    """Yield a line for every contradiction.

    Args:
        folder: folder of the run.
        record: its record.

    Raises:
        KeyError, ValueError, OSError: when a file is missing or has no such columns.
    """
    yield from _of_the_spec(folder, record)
    yield from _of_the_cases(record, read_cases(folder))
    summary = record.results
    complexity = count_complexity(load_model(folder / "model").architecture, record.spec.dataset.seen)
    for name in ("parameters", "macs", "flops"):
        counted, claimed = getattr(complexity, name), getattr(summary, name)
        if counted != claimed:
            yield f"its architecture has {counted:,} {name}, its summary says {claimed:,}"
    trajectory = pd.read_csv(folder / "trajectory.csv")
    chosen = trajectory[trajectory["step"] == summary.selected_step]
    if chosen.empty or chosen["parameters"].iloc[0] != summary.parameters:
        yield f"its trajectory has no step {summary.selected_step} with {summary.parameters:,} parameters"
    for name, column in (("epochs", "epoch"), ("ranking_passes", "ranking_passes")):
        if getattr(summary, name) < trajectory[column].max():
            yield f"its summary says {getattr(summary, name)} {name}, its trajectory {trajectory[column].max()}"


def read_cases(folder: Path) -> pd.DataFrame:
    """Return the table `cases.csv` of a run."""
    text = {"case": str, "subject": str, "class": str, "empty": str}
    return pd.read_csv(folder / "cases.csv", dtype=text, keep_default_na=False)


def _of_the_cases(record: Record, cases: pd.DataFrame) -> Iterator[str]:
    classes = record.dataset.classes[1:]
    wanted = pd.MultiIndex.from_product([cases["case"].unique(), classes])
    if sorted(wanted) != sorted(zip(cases["case"], cases["class"], strict=True)):
        yield (
            f"its cases.csv does not have each of {len(wanted.levels[0])} cases once for every class: "
            f"{', '.join(classes)}"
        )
    for name in ("dice", "hd95", "msd"):
        mean, claimed = float(cases[name].mean(skipna=False)), float(getattr(record.results, f"test_{name}"))
        if not np.isclose(mean, claimed, rtol=_EQUAL, atol=_EQUAL):
            yield f"its summary says test {name} {claimed:.4f}, its cases {mean:.4f}"
    yield from _impossible(cases)


def _of_the_spec(folder: Path, record: Record) -> Iterator[str]:
    spec = record.spec
    if (spec.dataset.name, spec.strategy) != (folder.parent.parent.name, folder.parent.name):
        yield f"it is a run of {spec.strategy} on {spec.dataset.name}, and is stored elsewhere"
    if not 0 <= spec.fold < spec.protocol.folds or spec.seed < 0:
        yield f"fold {spec.fold} or seed {spec.seed} does not exist"
    if record.protocol_label != spec.protocol_label:
        yield f"its protocol is called '{record.protocol_label}', but is {spec.protocol_label}"
    try:
        protocol = resolve_protocol(spec.protocol.name, {})
        resolved = resolve_strategy(spec.strategy, protocol, spec.hyperparameters)
        if record.label != (label := spec.label(resolved.defaults)):
            yield f"its strategy is called '{record.label}', but is {label}"
        if not spec.parents:
            data = record.dataset
            start = resolved.strategy.start(spec.dataset.spatial_dims, len(data.channels), len(data.classes))
            expected = parameter_count(start)
            first = int(pd.read_csv(folder / "trajectory.csv")["parameters"].iloc[0])
            if first != expected:
                yield f"{spec.strategy} starts with {expected:,} parameters, its trajectory with {first:,}"
    except (UserError, StrategyError) as error:
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
