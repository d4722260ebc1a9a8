"""Schema of `run.json`: every key with its type, description and unit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stampbench.benchmark.config.bounds import Amount, Count, Distance, Fraction, RunId, Sha256
from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.config.rerun_command import rerun_command
from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.provenance import Environment, Provenance

SCHEMA = 3
"""Raise it when stored keys change, and add a step to `stampbench.benchmark.records.migrate`."""
_OPTIONAL = ("ended", "summary", "reason", "migrated_from")


FileName = Literal[
    "trajectory.csv",
    "epochs.csv",
    "pruned.csv",
    "cases.csv",
    "latency.csv",
    "model/architecture.json",
    "model/weights.safetensors",
]
"""Files of a run whose checksums its record holds."""


class Summary(BaseModel, frozen=True):
    """Results and costs of a finished run; distances are in the dataset's unit."""

    test_dice: Fraction = Field(description="mean Dice over test cases and foreground classes")
    test_hd95: Distance = Field(description="mean 95th percentile of the Hausdorff distance")
    test_hausdorff: Distance = Field(description="mean Hausdorff distance")
    test_msd: Distance = Field(description="mean of the mean surface distances")
    test_nsd: Fraction = Field(description="mean normalised surface Dice")
    test_empty: Count = Field(description="masks (case × class) of which only prediction or only reference is empty")
    validation_dice: Fraction = Field(description="validation Dice of the selected checkpoint")
    selected_step: Count = Field(description="number of the selected checkpoint")
    selected_epoch: Count = Field(description="epochs charged until the selected checkpoint")
    vanished: dict[str, Count] = Field(
        default={}, description="by class, the first checkpoint without a correctly predicted voxel after one with some"
    )
    parameters: Count = Field(description="trainable parameters of the selected network")
    macs: Count = Field(description="multiply-accumulates of one image")
    flops: Count = Field(description="2 × MACs")
    inference_bytes: Count = Field(description="peak bytes of tensors in inference of one image")
    training_bytes: Count = Field(description="peak bytes of tensors in a training step")
    epochs: Count = Field(description="epochs charged to the run, parent runs included")
    parent_epochs: Count = Field(0, description="epochs of parent runs")
    ranking_passes: Count = Field(description="passes over the training images that scored filters")
    training_seconds: Amount = Field(description="seconds of training, parent runs included")
    training_joules: Amount | None = Field(None, description="joules of training; null: no readable counter")
    model_bytes: Count = Field(description="bytes of the network's files")


class Record(BaseModel):
    """One run: what it is, how it was computed, its status and its results."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_version: int = Field(alias="schema", description="version of this schema")
    id: RunId = Field(description="id of the run: a hash of `spec`")
    group: RunId = Field(description="hash of dataset, training size and protocol")
    status: Literal["running", "finished", "failed"] = Field(description="only finished runs count")
    begun: str = Field("", description="start of the run, UTC")
    ended: str | None = Field(None, description="end of the run, UTC")
    spec: RunSpec = Field(description="everything that can change the result")
    label: str = Field(description="the strategy's name in tables")
    protocol_label: str = Field(description="the protocol's name in tables")
    dataset: DatasetDescription = Field(description="description of the dataset")
    environment: Environment = Field(description="machine and compute settings")
    provenance: Provenance = Field(description="versions of the code")
    summary: Summary | None = Field(None, description="results; only of finished runs")
    files: dict[FileName, Sha256] = Field(default={}, description="SHA-256 of the run's other files by name")
    reason: str | None = Field(None, description="why a run failed")
    migrated_from: str | None = Field(None, description="id under an older schema")

    @classmethod
    def started(
        cls,
        spec: RunSpec,
        label: str,
        dataset: DatasetDescription,
        environment: Environment,
        provenance: Provenance,
    ) -> Self:
        """Return the record of a run that starts now.

        Args:
            spec: the run.
            label: the strategy's name in tables.
            dataset: description of the dataset.
            environment: machine and compute settings.
            provenance: versions of the code.
        """
        return cls(
            schema_version=SCHEMA,
            id=spec.id,
            group=spec.group,
            status="running",
            begun=now(),
            spec=spec,
            label=label,
            protocol_label=spec.protocol_label,
            dataset=dataset,
            environment=environment,
            provenance=provenance,
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Check what several keys say together."""
        data, identity = self.dataset, self.spec.dataset
        if len(data.values) != len(data.classes):
            raise ValueError(f"dataset has {len(data.classes)} classes and {len(data.values)} values")
        for name in ("spatial_dims", "size", "fit", "clip_range", "crop"):
            if getattr(data.preprocessing, name) != getattr(identity, name):
                raise ValueError(f"dataset.preprocessing.{name} is not that of spec.dataset")
        id, group = self.spec.id_and_group()
        if self.id != id:
            raise ValueError(f"has the id {self.id}, but its spec gives {id}")
        if self.group != group:
            raise ValueError(f"has the group {self.group}, but its spec gives {group}")
        return self

    @property
    def results(self) -> Summary:
        """The summary of a finished run."""
        assert self.summary is not None
        return self.summary

    @property
    def evaluation(self) -> EvaluationSettings:
        """How its test cases were scored."""
        return EvaluationSettings.of(self.spec, self.dataset)

    @property
    def command(self) -> str:
        """The command line that repeats it."""
        return rerun_command(self.spec, self.dataset, self.environment)

    def stored(self) -> dict[str, Any]:
        """The content of `run.json`; keys that do not apply to the status are absent."""
        content = self.model_dump(mode="json", by_alias=True)
        return {key: value for key, value in content.items() if value is not None or key not in _OPTIONAL}


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
