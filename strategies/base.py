"""What a strategy is, and what it can ask of the harness that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, Field

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.strategies.importance import Scores


class Validation(NamedTuple):
    """Loss and mean foreground Dice (over cases and classes) on the validation images."""

    loss: float
    dice: float


class Trainer(Protocol):
    """The harness, as a strategy sees it: one network in training, and everything that is done to it.

    Every method is recorded when it has finished. After an interruption the strategy is run again from
    its start: finished calls then return what they returned, without being done twice. So a strategy
    must decide from these returns, `architecture` and `rng` alone.

    Attributes:
        rng: for the strategy's own draws; seeded by the run, and drawn again on resume.
        patience: epochs without a better validation loss until training has converged (protocol).
        finetune_patience: the same after a prune of a converged network (protocol).
        max_epochs: the most epochs that one training to convergence may take (protocol).
    """

    rng: np.random.Generator
    patience: int
    finetune_patience: int
    max_epochs: int

    @property
    def architecture(self) -> UNetArchitecture:
        """The network as it is now."""

    def train(self, epochs: int) -> None:
        """Train; every epoch is charged to the run."""

    def validate(self) -> Validation:
        """Score the network on the validation images."""

    def score(self, importance: str) -> Scores:
        """Score every prunable filter on the training images by a name of `IMPORTANCES`; a pass is charged."""

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        """Remove filters; the optimiser starts anew (as in STAMP's code) or carries its moments over."""

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of layers."""

    def keep(self) -> None:
        """Remember weights and architecture, instead of what was kept before."""

    def restore(self) -> None:
        """Go back to the weights and architecture that were kept."""

    def checkpoint(self) -> None:
        """Validate the network and enter it in the trajectory; the best one by validation Dice is selected."""


class Strategy(BaseModel, ABC, frozen=True, extra="forbid"):
    """A way to a compact network: its fields are its hyperparameters, `fit` is the method.

    `f` filters on the first level and `depth` poolings make the doubling U-Net it starts from.
    """

    f: int = Field(4, ge=1, description="filters on the first level of the network it starts from")
    depth: int = Field(4, ge=1, le=7, description="poolings of the U-Net")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> UNetArchitecture:
        """The architecture that training starts from."""
        return UNetArchitecture.doubling(spatial_dims, in_channels, out_channels, f=self.f, depth=self.depth)

    @abstractmethod
    def fit(self, trainer: Trainer) -> None:
        """Train, prune, checkpoint: all that the strategy does; at least one checkpoint."""
