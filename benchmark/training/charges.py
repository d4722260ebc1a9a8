"""Training costs (epochs, seconds, joules) that are charged to a run, those of parent runs included."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from stampbench.benchmark.measure.energy import joules
from stampbench.benchmark.training.parent import FinishedParent


@dataclass
class Charges:
    """Everything a strategy has spent, its parent runs included.

    Attributes:
        epochs: epochs, those of parent runs included.
        parent_epochs: epochs of parent runs.
        ranking_passes: passes over the training images that score filters.
        seconds: seconds of training, validation and scoring.
        joules: energy; None: the device has no readable counter.
        parents: names of the parent runs that are charged already.
    """

    epochs: int = 0
    parent_epochs: int = 0
    ranking_passes: int = 0
    seconds: float = 0.0
    joules: float | None = None
    parents: list[str] = field(default_factory=list)

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the charges that `state` has returned.

        Raises:
            TypeError: when a name is unknown.
            ValueError: when a number is negative, not finite, or no number.
        """
        found = cls(**state)
        counts = (found.epochs, found.parent_epochs, found.ranking_passes)
        amounts = (found.seconds, found.joules or 0.0)
        whole = all(type(each) is int and each >= 0 for each in counts)
        if not (whole and found.parent_epochs <= found.epochs and all(0 <= each < math.inf for each in amounts)):
            raise ValueError(f"impossible charges {state}")
        return found

    def charge_parent(self, name: str, parent: FinishedParent) -> None:
        """Charge a parent run in full when it is used for the first time."""
        if name in self.parents:
            return
        self.parents.append(name)
        self.epochs += parent.epochs
        self.parent_epochs += parent.epochs
        self.ranking_passes += parent.ranking_passes
        self.seconds += parent.seconds
        if parent.joules is not None:
            self.joules = (self.joules or 0.0) + parent.joules

    @contextmanager
    def measured(self, device: torch.device) -> Iterator[None]:
        """Add the time and energy of the work inside the context."""
        started, before = time.monotonic(), joules(device)
        yield
        self.seconds += time.monotonic() - started
        if before is not None and (after := joules(device)) is not None and after >= before:
            self.joules = (self.joules or 0.0) + after - before

    def state(self) -> dict[str, Any]:
        """Return the charges as plain data."""
        return asdict(self)
