"""Rows that training records: checkpoints, epochs and removed filters."""

from __future__ import annotations

from pydantic import BaseModel, Field

from stampbench.benchmark.config.bounds import Amount, Count, Fraction


class Checkpoint(BaseModel, frozen=True):
    """A row of `trajectory.csv`: the validated network at one point of a strategy."""

    step: Count = Field(description="number of the checkpoint, from 0")
    epoch: Count = Field(description="epochs charged until then, parent runs included")
    ranking_passes: Count = Field(description="passes that scored filters, charged until then")
    seconds: Amount = Field(description="seconds of training charged until then")
    parameters: Count = Field(description="trainable parameters")
    macs: Count = Field(description="multiply-accumulates of one image")
    training_loss: float | None = Field(description="mean training loss of the last epoch; empty before the first")
    validation_loss: float = Field(description="mean validation loss over images")
    validation_dice: Fraction = Field(description="mean validation Dice over cases and foreground classes")
    test_dice: Fraction | None = Field(
        None, description="mean test Dice over cases and foreground classes; only with `trajectory_test`, for figures"
    )
    vanished: str = Field(description="classes without a correctly predicted voxel, separated by '; '")
    dropout: Fraction | None = Field(
        None, description="mean probability of channelwise dropout over its layers; empty: it has none to set"
    )
    widths: str = Field(pattern=r"^\d{1,9}( \d{1,9})*$", description="filters per convolution, separated by spaces")
    architecture: str = Field(description="architecture as JSON")


class Epoch(BaseModel, frozen=True):
    """A row of `epochs.csv`: one training epoch of the run itself."""

    epoch: Count = Field(description="epochs charged with this one, parent runs included")
    parameters: Count = Field(description="trainable parameters")
    training_loss: float = Field(description="mean training loss")
    validation_loss: float | None = Field(
        None, description="mean validation loss over images after it; empty: not validated"
    )


class RemovedFilter(BaseModel, frozen=True):
    """A row of `pruned.csv`: one removed filter."""

    step: Count = Field(description="number of checkpoints made before the removal")
    layer: str = Field(description="name of the layer")
    filter: Count = Field(description="number of the filter within the layer at that time")
    score: float | None = Field(description="its score in the ranking; empty: it was not scored")
