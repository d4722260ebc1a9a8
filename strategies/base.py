"""The `Strategy` base class, and the `Trainer` protocol through which a strategy controls training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import Architecture
from stampbench.strategies.importance import Scores

Shape = Literal["doubling", "flat"]
"""Filters on each level: f·2^level (`doubling`) or f (`flat`)."""


class Validation(NamedTuple):
    """Loss and foreground Dice on the validation images; Dice is the mean over cases and classes."""

    loss: float
    dice: float


class Parent(NamedTuple):
    """Description of a parent run: a run of another strategy that must be finished first.

    The parent run has the same data, training size, fold and protocol as the run that builds on it.

    Attributes:
        strategy: Name of the parent run's strategy.
        hyperparameters: Its hyperparameters; the others have the defaults of the protocol and of that strategy.
        seed: Its seed; None means the seed of the run that builds on it.
    """

    strategy: str
    hyperparameters: Mapping[str, Any]
    seed: int | None = None


class ParentCheckpoint(NamedTuple):
    """One checkpoint of a parent run.

    Attributes:
        step: Number of the checkpoint.
        epoch: Epochs charged up to it.
        architecture: Its architecture.
        dropout: Mean dropout probability of its layers; None: not recorded.
    """

    step: int
    epoch: int
    architecture: Architecture
    dropout: float | None = None


class ParentRun(NamedTuple):
    """All checkpoints of a finished parent run, and the step of the selected one."""

    checkpoints: tuple[ParentCheckpoint, ...]
    selected: int


class Trainer(Protocol):
    """The interface between a strategy and the harness: one network, and the operations on it.

    The trainer records every finished call. When an interrupted run resumes, the strategy's `fit` runs again
    from the start; finished calls return their recorded results without repeating the work. A strategy must
    therefore base its decisions only on returned values, on `architecture` and on `rng`.

    Attributes:
        rng: Random generator for the strategy, seeded by the run. After a resume it yields the same numbers.
        patience: Epochs without a better validation loss after which training has converged (protocol).
        finetune_patience: The same for fine-tuning after a converged network was pruned (protocol).
        max_epochs: Maximum number of epochs of one training to convergence (protocol).
    """

    rng: np.random.Generator
    patience: int
    finetune_patience: int
    max_epochs: int

    @property
    def architecture(self) -> Architecture:
        """Architecture of the current network."""

    def train(self, epochs: int, *, gather: bool = False) -> float:
        """Train for a number of epochs, which are charged to the run, and return the training loss of the last one.

        Args:
            epochs: Number of epochs.
            gather: Whether the last epoch collects the norms for the importance `l2_gathered`.
        """

    def validate(self) -> Validation:
        """Return the loss and the Dice of the network on the validation images."""

    def score(self, importance: str) -> Scores:
        """Return the scores of all prunable filters; a pass over the training images is charged to the run.

        Args:
            importance: Name in `stampbench.strategies.importance.IMPORTANCES`.
        """

    def savings(self, cost: str) -> dict[str, float]:
        """Return what the removal of one filter of each prunable layer saves; the time of measuring is charged.

        Args:
            cost: `parameters`; `flops` of one image; or `latency`, the milliseconds of one image by a table of layers
                that is measured once per run. Layers with one filter are left out.
        """

    def input_sensitivity(self) -> float:
        """Return the mean L2 norm, over the training images, of ∂(Σ logits)/∂image.

        The network is in evaluation mode. The pass is charged to the run as a ranking pass.
        """

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        """Remove filters from the network.

        Args:
            filters: The filters; their channels refer to the network before the call.
            optimiser: `new` creates a new optimiser (as in STAMP's code); `carry` carries its moments over.
        """

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of the given layers; other layers keep theirs."""

    def keep(self) -> None:
        """Save a copy of the weights and the architecture; it replaces the previous copy."""

    def restore(self) -> None:
        """Restore the weights and the architecture that `keep` saved last."""

    def checkpoint(self, *, candidate: bool = True) -> None:
        """Validate the network and append it to the trajectory.

        Args:
            candidate: Whether the checkpoint may be selected; the candidate with the best validation Dice is.
        """

    def reset(self, architecture: Architecture) -> None:
        """Replace the network by a newly initialised one of the given architecture."""

    def parent(self, name: str) -> ParentRun:
        """Return the checkpoints of a run in `Strategy.parents`; its whole cost is charged once, on first use."""

    def adopt(self, name: str) -> None:
        """Continue from the selected network of a parent run; its whole cost is charged once, on first use."""

    def average_weights(self, decay: float) -> None:
        """Validate and keep an average of the weights over epochs from now on; training itself goes on without it.

        Args:
            decay: Largest weight of the previous average, 0 to 1; with .9, about the last ten epochs count.
        """

    def distill(self, name: str, weight: float, temperature: float) -> None:
        """Distill from the selected network of a parent run in all following epochs.

        The whole cost of the parent run is charged once, on first use.

        Args:
            name: Key in `Strategy.parents`.
            weight: Weight of the distillation term in the loss, 0 to 1; the label loss has weight 1 − `weight`.
            temperature: Temperature that softens the outputs of teacher and student.
        """

    def compute_in(self, precision: Literal["int8", "bf16"]) -> None:
        """Validate and test the network in a lower precision from now on; weights and training stay in fp32.

        Args:
            precision: With `int8`, activations get their ranges from the training images.
        """

    def regularise(self, name: str, weight: float) -> None:
        """Add a term to the training loss of all following epochs: its mean over the prunable layers.

        Args:
            name: Name in `stampbench.strategies.regularisers.REGULARISERS`.
            weight: Weight of the term.
        """


class Strategy(BaseModel, ABC, frozen=True, extra="forbid"):
    """Base class of strategies: the fields are hyperparameters, and `fit` is the training method.

    The inherited fields `f`, `depth` and `convs_per_level` define the U-Net that training starts from, unless another
    network is chosen (`--network`). `learning_rate` takes the place of the protocol's, so that a table can hold
    strategies with a rate of their own.
    """

    prunes: ClassVar[bool] = False
    """Whether the strategy removes filters, so that it needs a network that can lose some."""

    trains: ClassVar[bool] = True
    """Whether the strategy trains a network; one that only computes the network of another is not part of `all`."""

    f: int = Field(4, ge=1, le=1024, description="filters on the first level")
    depth: int = Field(4, ge=1, le=7, description="number of pooling steps")
    convs_per_level: int = Field(2, ge=1, le=16, description="convolutions on every level")
    learning_rate: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="the optimiser's learning rate; unset: the protocol's"
    )

    younger: ClassVar[Mapping[str, Any]] = {}
    """Hyperparameters that are younger than published runs, with their defaults."""

    @model_serializer(mode="wrap")
    def _stored(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out defaults that are younger than published runs, so that their ids hold."""
        stored, younger = serialise(self), {"learning_rate": None, **self.younger}
        return {key: value for key, value in stored.items() if key not in younger or value != younger[key]}

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the architecture that training starts from; by default the doubling U-Net."""
        return self.unet("doubling", spatial_dims, in_channels, out_channels)

    def unet(self, shape: Shape, spatial_dims: int, in_channels: int, out_channels: int) -> UNetArchitecture:
        """Return the U-Net that this strategy's hyperparameters define.

        Args:
            shape: Filters on each level, `doubling` or `flat`.
            spatial_dims: 2 or 3.
            in_channels: Channels of the input image.
            out_channels: Output channels, one per class including the background.
        """
        make = UNetArchitecture.doubling if shape == "doubling" else UNetArchitecture.flat
        dims = (spatial_dims, in_channels, out_channels)
        return make(*dims, f=self.f, depth=self.depth, convs_per_level=self.convs_per_level)

    def shared_hyperparameters(self) -> dict[str, Any]:
        """Return what a parent run shares: the hyperparameters of the U-Net, and the learning rate if it is set."""
        unet = {"f": self.f, "depth": self.depth, "convs_per_level": self.convs_per_level}
        return unet if self.learning_rate is None else {**unet, "learning_rate": self.learning_rate}

    def fixed_network(self) -> str | None:
        """Return why the strategy cannot start from a network of the registry; None, the default: it can.

        A strategy that can leaves its network to `trainer.architecture`; `start` is not called then.
        """
        return None

    def trained_parent(self) -> str | None:
        """Return the name of the parent run whose network training starts from; None, the default: there is none.

        Trained weights that a user has take the place of this parent run.
        """
        return None

    def parents(self) -> Mapping[str, Parent]:
        """Return the parent runs that this strategy builds on; the keys are names for use in `fit`."""
        return {}

    @abstractmethod
    def fit(self, trainer: Trainer) -> None:
        """Train and prune the network with the methods of `trainer`; make at least one checkpoint."""
