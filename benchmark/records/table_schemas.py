"""Schemas of the CSV files of runs, of timings, and of published tables."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from stampbench.benchmark.config.bounds import Count, Fraction, PathName, RunId, Sha256
from stampbench.benchmark.environment.bounded_json import parse_json
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.measure.latency_row import YOUNGER, LatencyRow
from stampbench.benchmark.measure.trajectory_rows import Checkpoint, Epoch, RemovedFilter
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.records.strict_csv import TableSchema

CASE_COLUMNS = [
    "run", "case", "subject", "class", "dice", "hd95", "msd", "empty", "reference_voxels", "nsd",
    "predicted_voxels", "average_hausdorff_set",
]  # fmt: skip
"""Columns of the published table of cases."""

TRAJECTORY_COLUMNS = [
    "run", "step", "epoch", "ranking_passes", "parameters", "macs", "validation_loss", "validation_dice", "widths",
    "test_dice",
]  # fmt: skip
"""Columns of the published table of trajectories."""


def _json_object(text: str) -> None:
    if not isinstance(parse_json(text.encode()), dict):
        raise ValueError("is not a JSON object")


class RunRow(Summary, frozen=True):
    """A row of the published `runs.csv`: what a run is, its results, and the code and machine that computed it."""

    vanished: dict[str, Count] = Field(default={}, exclude=True)
    run: RunId
    group: RunId
    task: Annotated[str, Field(pattern=r"^([0-9a-f]{12})?$")]
    dataset: PathName
    dataset_version: str
    data_checksum: Sha256
    form: str
    synthetic: bool
    unit: str
    equivalence_margin: Fraction | None
    protocol: str
    name: PathName
    strategy: str
    hyperparameters: Annotated[str, AfterValidator(_json_object)]
    parents: str = Field(pattern=r"^([0-9a-f]{12}( [0-9a-f]{12})*)?$")
    n_train: Count
    training_set: Count | None
    fold: Count
    seed: Count
    folds: Count
    split: str | None
    command: str | None
    git_commit: str | None
    git_dirty: bool | None
    torch: str | None
    processor: str | None
    device: str | None
    threads: Count | None


CASES = TableSchema.of(
    CaseScore, younger=("hausdorff", "nsd", "volume_error", "predicted_voxels", "average_hausdorff_set")
)
TRAJECTORY = TableSchema.of(Checkpoint, younger=("test_dice", "dropout"))
EPOCHS = TableSchema.of(Epoch)
PRUNED = TableSchema.of(RemovedFilter)
LATENCY = TableSchema.of(LatencyRow, younger=YOUNGER)

TIMINGS = LATENCY.published()
PUBLISHED_CASES = CASES.published(CASE_COLUMNS)
_YOUNGER = ("nsd", "predicted_voxels", "average_hausdorff_set")  # empty in rows that were published without them
PUBLISHED_CASES = PUBLISHED_CASES._replace(
    columns={name: each._replace(optional=name in _YOUNGER) for name, each in PUBLISHED_CASES.columns.items()}
)
PUBLISHED_TRAJECTORIES = TRAJECTORY.published(TRAJECTORY_COLUMNS)
RUNS = TableSchema.of(
    RunRow,
    younger=(
        "training_set", "equivalence_margin", "split", "task", "training_joules", "command", "git_commit",
        "git_dirty", "torch", "processor", "device", "threads",
    ),
)._replace(renamed={"sources": "parents", "source_epochs": "parent_epochs"})  # fmt: skip
