"""A compact student that learns from a converged standard U-Net."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from stampbench.models.network import Architecture
from stampbench.strategies.base import Parent, Shape, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence


class Distill(Strategy):
    """Train a flat or narrow student on the labels and on the softened outputs of a teacher (Hinton et al. 2015, §2).

    The teacher is the standard U-Net of `teacher_f` filters; its epochs are charged.
    """

    shape: Shape = Field("flat", description="of the student")
    teacher_f: int = Field(4, ge=1, description="filters on the teacher's first level")
    weight: float = Field(0.5, ge=0, le=1, description="share of the teacher in the loss")
    temperature: float = Field(2.0, gt=0, description="how far both outputs are softened")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        return self.unet(self.shape, spatial_dims, in_channels, out_channels)

    def parents(self) -> Mapping[str, Parent]:
        return {"teacher": Parent("standard", {**self.network(), "f": self.teacher_f})}

    def fit(self, trainer: Trainer) -> None:
        trainer.distill("teacher", self.weight, self.temperature)
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
