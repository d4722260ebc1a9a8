"""Parent runs (finished runs that another run builds on), loaded from the store for training."""

from __future__ import annotations

import math

import pandas as pd

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training.parent import FinishedParent
from stampbench.models.network import parse_architecture
from stampbench.models.serialization import load_model
from stampbench.strategies.base import ParentCheckpoint, ParentRun


def read_parent(spec: RunSpec, store: RunStore, compute: ComputeSettings) -> FinishedParent:
    """Read a parent run, its network on the device of `compute`.

    Raises:
        UserError: when it is not finished, or damaged.
        ModelError: when its network is damaged.
    """
    folder, record = store.read(spec)
    trajectory = pd.read_csv(folder / "trajectory.csv")
    if "dropout" not in trajectory:  # an older record
        trajectory["dropout"] = math.nan
    rows = trajectory[["step", "epoch", "architecture", "dropout"]].to_dict("records")
    checkpoints = tuple(
        ParentCheckpoint(
            int(row["step"]),
            int(row["epoch"]),
            parse_architecture(row["architecture"]),
            None if math.isnan(row["dropout"]) else float(row["dropout"]),
        )
        for row in rows
    )
    model = load_model(folder / "model").to(compute.torch_device)
    model.kernels = compute.kernels
    summary = record.results
    return FinishedParent(
        ParentRun(checkpoints, summary.selected_step),
        model,
        summary.epochs,
        summary.ranking_passes,
        summary.training_seconds,
        summary.training_joules,
    )
