"""Distillation from a converged standard U-Net into a compact student."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from stampbench.models.model import Architecture
from stampbench.strategies.base import Parent, Shape, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence


class Distill(Strategy):
    """Train a flat or narrow student on the labels and on the softened outputs of a teacher (Hinton et al. 2015, §2).

    The teacher is the selected network of a parent run: a standard U-Net with `teacher_f` filters on its first
    level. The teacher's epochs are charged to the run.
    """

    shape: Shape = Field("flat", description="filters on each level of the student: doubling or flat")
    teacher_f: int = Field(4, ge=1, le=1024, description="filters on the teacher's first level")
    weight: float = Field(0.5, ge=0, le=1, description="weight of the distillation term in the loss")
    temperature: float = Field(2.0, gt=0, description="temperature that softens the outputs of teacher and student")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the student's architecture."""
        return self.unet(self.shape, spatial_dims, in_channels, out_channels)

    def fixed_network(self) -> str | None:
        """Return that student and teacher are U-Nets."""
        return "its student and its teacher are U-Nets"

    def parents(self) -> Mapping[str, Parent]:
        """Return the parent run that trains the teacher."""
        return {"teacher": Parent("standard", {**self.shared_hyperparameters(), "f": self.teacher_f})}

    def fit(self, trainer: Trainer) -> None:
        """Train the student to convergence while it learns from the teacher."""
        trainer.distill("teacher", self.weight, self.temperature)
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
