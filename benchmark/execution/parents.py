"""Parent runs (finished runs that another run builds on), and trained networks that take the place of one."""

from __future__ import annotations

import copy
import math

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import architectures_of, read_table
from stampbench.benchmark.training.parent import FinishedParent
from stampbench.models.model import Model
from stampbench.models.weights.serialization import load_model
from stampbench.strategies.base import ParentCheckpoint, ParentRun


def trained_elsewhere(model: Model, compute: ComputeSettings) -> FinishedParent:
    """Return a network that was trained elsewhere as a parent run without costs, on the device of `compute`."""
    own = copy.deepcopy(model).to(compute.torch_device)
    own.kernels = compute.kernels
    checkpoint = ParentCheckpoint(step=0, epoch=0, architecture=own.architecture)
    return FinishedParent(ParentRun((checkpoint,), 0), own, epochs=0, ranking_passes=0, seconds=0.0, joules=None)


def read_parent(spec: RunSpec, store: RunStore, compute: ComputeSettings) -> FinishedParent:
    """Read a parent run, its network on the device of `compute`.

    Raises:
        UserError: when it is not finished, or damaged.
        ModelError: when its network is damaged.
    """
    folder, record = store.read(spec)
    trajectory = read_table(folder, record, "trajectory.csv")
    dropout = trajectory.get("dropout", [math.nan] * len(trajectory["step"]))  # older records have none
    checkpoints = tuple(
        ParentCheckpoint(int(step), int(epoch), architecture, None if math.isnan(mean) else float(mean))
        for step, epoch, architecture, mean in zip(
            trajectory["step"], trajectory["epoch"], architectures_of(folder, trajectory), dropout, strict=True
        )
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
