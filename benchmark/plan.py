"""What a strategy would do, without doing it: the epochs of a dry run and of the progress bar."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from stampbench.benchmark.protocol import Protocol
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.strategies.base import Strategy, Validation
from stampbench.strategies.importance import Scores


class Planner:
    """A `Trainer` that only counts.

    Its validation loss keeps falling, so training to convergence takes the protocol's most epochs: a plan
    is an upper bound. Its scores are equal, so which filters go is not what will happen; how many is.
    """

    def __init__(self, architecture: UNetArchitecture, protocol: Protocol) -> None:
        self.architecture = architecture
        self.rng = np.random.default_rng(0)
        self.patience, self.finetune_patience = protocol.patience, protocol.finetune_patience
        self.max_epochs = protocol.max_epochs
        self.epochs = self.ranking_passes = self.steps = 0
        self._loss = 1.0
        self._kept = architecture

    def train(self, epochs: int) -> None:
        self.epochs += epochs

    def validate(self) -> Validation:
        self._loss = math.nextafter(self._loss, 0)
        return Validation(self._loss, 0.5)

    def score(self, importance: str) -> Scores:
        self.ranking_passes += 1
        return {layer: [1.0] * width for layer, width in self.architecture.layers.items()}

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        self.architecture = self.architecture.without(filters)
        self.steps += 1

    def set_dropout(self, probabilities: Mapping[str, float]) -> None: ...

    def keep(self) -> None:
        self._kept = self.architecture

    def restore(self) -> None:
        self.architecture = self._kept

    def checkpoint(self) -> None: ...


def plan(strategy: Strategy, architecture: UNetArchitecture, protocol: Protocol) -> Planner:
    """Follow a strategy from `architecture` to its end, counting."""
    planner = Planner(architecture, protocol)
    strategy.fit(planner)
    return planner
