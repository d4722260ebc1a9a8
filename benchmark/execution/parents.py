"""Finished runs that other runs build on."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import Compute
from stampbench.benchmark.records.run_store import RunStore
from stampbench.models.network import Network, parse_architecture
from stampbench.models.serialization import load_model
from stampbench.strategies.base import ParentCheckpoint, ParentRun


class FinishedParent(NamedTuple):
    """A parent's record: what a strategy may see of it, its selected network, and all that it was charged."""

    run: ParentRun
    model: Network
    epochs: int
    ranking_passes: int
    seconds: float
    joules: float | None


def read_parent(spec: RunSpec, store: RunStore, compute: Compute) -> FinishedParent:
    """Read what a run needs of one it builds on.

    Raises:
        UserError, ModelError: it is not finished, or damaged.
    """
    folder, record = store.read(spec)
    trajectory = pd.read_csv(folder / "trajectory.csv")
    summary = record["summary"]
    checkpoints = tuple(
        ParentCheckpoint(int(step), int(epoch), parse_architecture(architecture))
        for step, epoch, architecture in zip(
            trajectory["step"], trajectory["epoch"], trajectory["architecture"], strict=True
        )
    )
    model = load_model(folder / "model").to(compute.device)
    model.kernels = compute.kernels
    return FinishedParent(
        ParentRun(checkpoints, int(summary["selected_step"])),
        model,
        int(summary["epochs"]),
        int(summary["ranking_passes"]),
        float(summary["training_seconds"]),
        summary.get("training_joules"),
    )
