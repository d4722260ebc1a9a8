"""What a strategy is, and what it can ask of the harness that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, Field

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.network import Architecture
from stampbench.strategies.importance import Scores

Shape = Literal["doubling", "flat"]
"""Filters per level: f·2^level, or f everywhere."""


class Validation(NamedTuple):
    """Loss and mean foreground Dice (over cases and classes) on the validation images."""

    loss: float
    dice: float


class Parent(NamedTuple):
    """Another strategy's run that has to be there first: same data, training size, fold, seed and protocol.

    `hyperparameters` that are not given are the protocol's and that strategy's defaults; `seed` None is the run's own.
    """

    strategy: str
    hyperparameters: Mapping[str, Any]
    seed: int | None = None


class ParentCheckpoint(NamedTuple):
    """A checkpoint of a source's trajectory: its step, the epochs charged until then, its architecture."""

    step: int
    epoch: int
    architecture: Architecture


class ParentRun(NamedTuple):
    """What a finished source passed through, and which step was selected."""

    checkpoints: tuple[ParentCheckpoint, ...]
    selected: int


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
    def architecture(self) -> Architecture:
        """The network as it is now."""

    def train(self, epochs: int, *, gather: bool = False) -> None:
        """Train; every epoch is charged to the run. `gather` prepares the importance `l2_gathered` in the last one."""

    def validate(self) -> Validation:
        """Score the network on the validation images."""

    def score(self, importance: str) -> Scores:
        """Score every prunable filter by a name of `IMPORTANCES`; a pass over the training images is charged."""

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        """Remove filters; the optimiser starts anew (as in STAMP's code) or carries its moments over."""

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of layers."""

    def keep(self) -> None:
        """Remember weights and architecture, instead of what was kept before."""

    def restore(self) -> None:
        """Go back to the weights and architecture that were kept."""

    def checkpoint(self, *, candidate: bool = True) -> None:
        """Validate the network and enter it in the trajectory; the best candidate by validation Dice is selected."""

    def reset(self, architecture: Architecture) -> None:
        """Begin again with freshly initialised weights of an architecture."""

    def parent(self, name: str) -> ParentRun:
        """Look at one of the strategy's `sources`; all that it cost is charged, once."""

    def adopt(self, name: str) -> None:
        """Continue from a source's selected network; all that it cost is charged, once."""

    def distill(self, name: str, weight: float, temperature: float) -> None:
        """From now on learn from a source's selected network too; all that it cost is charged, once."""


class Strategy(BaseModel, ABC, frozen=True, extra="forbid"):
    """A way to a compact network: its fields are its hyperparameters, `fit` is the method.

    `f` filters on the first level and `depth` poolings make the doubling U-Net it starts from.
    """

    f: int = Field(4, ge=1, description="filters on the first level")
    depth: int = Field(4, ge=1, le=7, description="poolings")
    convs_per_level: int = Field(2, ge=1, description="convolutions on every level")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """The architecture that training starts from."""
        return self.unet("doubling", spatial_dims, in_channels, out_channels)

    def unet(self, shape: Shape, spatial_dims: int, in_channels: int, out_channels: int) -> UNetArchitecture:
        """The U-Net of this strategy's hyperparameters."""
        make = UNetArchitecture.doubling if shape == "doubling" else UNetArchitecture.flat
        dims = (spatial_dims, in_channels, out_channels)
        return make(*dims, f=self.f, depth=self.depth, convs_per_level=self.convs_per_level)

    def network(self) -> dict[str, int]:
        """The hyperparameters that make the U-Net, for a source that is to have the same."""
        return {"f": self.f, "depth": self.depth, "convs_per_level": self.convs_per_level}

    def parents(self) -> Mapping[str, Parent]:
        """Runs of other strategies that this one builds on, by names of its own."""
        return {}

    @abstractmethod
    def fit(self, trainer: Trainer) -> None:
        """Train, prune, checkpoint: all that the strategy does; at least one checkpoint."""
