"""Contradictions within one record: claims that its own files do not support."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stampbench.benchmark.config.resolve import resolve_network, resolve_protocol, resolve_strategy
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.records.run_tables import Table, architectures_of, read_table
from stampbench.benchmark.records.schema import Record
from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, parameter_count
from stampbench.models.weights.serialization import load_model
from stampbench.strategies.errors import StrategyError

_WHOLE = 1e-6
"""Accepted distance from a whole number of the overlap that a Dice score implies, relative to the voxels."""
_EQUAL = 1e-6
_COUNTED = 10
"""Checkpoints of a trajectory whose operations are counted, besides the selected one."""


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
    values = read_table(folder, record, "trajectory.csv")
    trajectory = pd.DataFrame(values)
    others: tuple[Table, ...] = ("epochs.csv", "pruned.csv", "latency.csv")
    for other in others:
        if other in record.files:
            read_table(folder, record, other)
    yield from _of_the_spec(record, trajectory)
    yield from _of_the_cases(record, cases)
    yield from _of_the_trajectory(record, trajectory, architectures_of(folder, values))
    summary = record.results
    complexity = count_complexity(load_model(folder / "model").architecture, record.spec.dataset.seen)
    for name in ("parameters", "macs", "flops"):
        counted, claimed = getattr(complexity, name), getattr(summary, name)
        if counted != claimed:
            yield f"its architecture has {counted:,} {name}, its summary says {claimed:,}"
    size = sum((folder / name).stat().st_size for name in record.files if name.startswith("model/"))
    if size != summary.model_bytes:
        yield f"its network's files have {size:,} bytes, its summary says {summary.model_bytes:,}"


def _of_the_cases(record: Record, cases: pd.DataFrame) -> Iterator[str]:
    for name in ("dice", "hausdorff", "hd95", "msd", "nsd"):
        mean, claimed = float(cases[name].mean(skipna=False)), float(getattr(record.results, f"test_{name}"))
        if not np.isclose(mean, claimed, rtol=_EQUAL, atol=_EQUAL):
            yield f"its summary says test {name} {claimed:.4f}, its cases {mean:.4f}"
    empty = int(cases["empty"].isin(["reference", "prediction"]).sum())
    if empty != record.results.test_empty:
        yield f"its summary says {record.results.test_empty} empty masks, its cases {empty}"
    yield from _impossible(cases)


def _of_the_trajectory(
    record: Record, trajectory: pd.DataFrame, architectures: Sequence[Architecture]
) -> Iterator[str]:
    """Yield the first checkpoint that is not what its architecture says, and what the summary says otherwise.

    Counting the operations of a network takes a tenth of a second, so that of long trajectories only some are counted,
    drawn with the system's random numbers.
    """
    summary, size = record.results, record.spec.dataset.seen
    counted = set(random.SystemRandom().sample(range(len(architectures)), min(_COUNTED, len(architectures))))
    for number, (row, architecture) in enumerate(zip(trajectory.to_dict("records"), architectures, strict=True)):
        found: dict[str, object] = {"widths": " ".join(map(str, architecture.widths))}
        if number in counted or row["step"] == summary.selected_step:
            found |= count_complexity(architecture, size)._asdict()
        wrong = [name for name, value in found.items() if name in row and row[name] != value]
        if wrong:
            name = wrong[0]
            yield f"step {row['step']} of its trajectory has {name} {row[name]}, but its architecture {found[name]}"
            break
    chosen = trajectory[trajectory["step"] == summary.selected_step]
    if len(chosen) != 1:
        yield f"its trajectory has no step {summary.selected_step}, which its summary selects"
        return
    (row,) = chosen.to_dict("records")
    claims = {"parameters": summary.parameters, "macs": summary.macs, "epoch": summary.selected_epoch}
    for name, claimed in claims.items():
        if row[name] != claimed:
            yield f"its summary says {name} {claimed:,}, its trajectory {row[name]:,} at step {summary.selected_step}"
    scores = [("validation_dice", summary.validation_dice)]
    if np.isfinite(row.get("test_dice", np.nan)):
        scores.append(("test_dice", summary.test_dice))
    for name, score in scores:
        if not np.isclose(row[name], score, rtol=_EQUAL, atol=_EQUAL):
            yield f"its summary says {name} {score:.4f}, its trajectory {row[name]:.4f} at the selected step"
    for name, column in (("epochs", "epoch"), ("ranking_passes", "ranking_passes")):
        if getattr(summary, name) < trajectory[column].max():
            yield f"its summary says {getattr(summary, name)} {name}, its trajectory {trajectory[column].max()}"


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
    """Yield the first scores that are impossible with the voxel counts or other scores beside them."""
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
    predicted, reference = cases["predicted_voxels"] > 0, cases["reference_voxels"] > 0
    empty = np.select([predicted & reference, predicted, reference], ["", "reference", "prediction"], "both")
    one, both = np.isin(empty, ["reference", "prediction"]), empty == "both"
    distances = cases[["hausdorff", "hd95", "msd"]]
    wrong = {
        "empty": cases["empty"] != empty,
        "nsd": (one & (cases["nsd"] != 0)) | (both & (cases["nsd"] != 1)),
        "hausdorff": (both & (distances != 0).any(axis=1)) | (one & (distances.nunique(axis=1) != 1)),
        "hd95": cases["hd95"] > cases["hausdorff"] + _EQUAL,
        "msd": cases["msd"] > cases["hausdorff"] + _EQUAL,
    }
    for name, rows in wrong.items():
        for row in cases[rows].head(1).to_dict("records"):
            yield (
                f"case {row['case']}, {row['class']}: {name} {row[name]!r} is impossible with its other scores and "
                f"{row['predicted_voxels']:.0f} predicted and {row['reference_voxels']:.0f} labelled voxels"
            )
