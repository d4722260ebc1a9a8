"""A finished parent run: what a run that builds on it reads, and what it is charged."""

from __future__ import annotations

from typing import NamedTuple

from stampbench.models.model import Model
from stampbench.strategies.base import ParentRun


class FinishedParent(NamedTuple):
    """A parent run's trajectory, its selected network, and everything that was charged to it.

    Attributes:
        run: what a strategy may read of it.
        model: the selected network, on the device of the training.
        epochs: epochs, those of its own parents included.
        ranking_passes: passes over the training images that scored filters.
        seconds: seconds of training.
        joules: energy of training; None: the device has no readable counter.
    """

    run: ParentRun
    model: Model
    epochs: int
    ranking_passes: int
    seconds: float
    joules: float | None


class Teacher(NamedTuple):
    """A parent run's network that is distilled: its name, the weight of its loss, and the temperature."""

    parent: str
    weight: float
    temperature: float
