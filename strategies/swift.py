"""A strategy for networks that are small and fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stampbench.models.model import Architecture
from stampbench.models.networks.swift import SwiftUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.strategies.base import Parent, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence

_NETWORK = "swift_unet"
_TEACHER = "teacher"


class Swift(Strategy):
    """Train a flat U-Net behind a space-to-depth step to convergence, with help of a teacher and of averaged weights.

    The network is `swift_unet`, which other strategies can start from too. Each part can be switched off: `stride=1`,
    `refine=0`, `weight=0` (no teacher), `average=0`. The teacher is the selected standard U-Net of a parent run, whose
    epochs are charged to the run.
    """

    f: int = Field(8, ge=1, le=1024, description="filters on every level")
    depth: int = Field(3, ge=1, le=7, description="number of pooling steps after the space-to-depth step")
    convs_per_level: Literal[2] = Field(2, description="convolutions on every level; always two")
    stride: Literal[1, 2, 4] = Field(2, description="voxels per axis that become channels; 1: none")
    stride_last: Literal[1, 2, 4] | None = Field(
        None, description="the same for the last axis in 3D, for thick slices; unset: as the others"
    )
    refine: int = Field(0, ge=0, le=1024, description="filters of the refinement at full resolution; 0: none")
    teacher_f: int = Field(4, ge=1, le=1024, description="filters on the teacher's first level")
    teacher_depth: int = Field(4, ge=1, le=7, description="number of the teacher's pooling steps")
    weight: float = Field(0.0, ge=0, le=1, description="weight of the distillation term in the loss; 0: no teacher")
    temperature: float = Field(2.0, gt=0, description="temperature that softens the outputs of teacher and student")
    average: float = Field(
        0.0, ge=0, lt=1, description="largest weight of the past in the average of the weights; 0: none"
    )

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the swift network."""
        names = ("f", "depth", "stride", "stride_last", "refine")
        network = SwiftUNet(**{name: getattr(self, name) for name in names})
        return TracedArchitecture.unpruned(_NETWORK, network, spatial_dims, in_channels, out_channels)

    def fixed_network(self) -> str | None:
        """Return that the strategy is the training of its network."""
        return f"it trains the network {_NETWORK}; take the strategy 'standard'"

    def parents(self) -> Mapping[str, Parent]:
        """Return the run that trains the teacher, if there is one."""
        teacher = {**self.shared_hyperparameters(), "f": self.teacher_f, "depth": self.teacher_depth}
        return {_TEACHER: Parent("standard", teacher)} if self.weight else {}

    def fit(self, trainer: Trainer) -> None:
        """Train to convergence and make one checkpoint."""
        if self.average:
            trainer.average_weights(self.average)
        if self.weight:
            trainer.distill(_TEACHER, self.weight, self.temperature)
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
