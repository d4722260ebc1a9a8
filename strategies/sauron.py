"""Sauron: filters whose outputs resemble another one's are removed during training (Valverde and Tohka 2024)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from stampbench.models.architecture import Filter
from stampbench.models.model import Architecture
from stampbench.strategies.base import Strategy, Trainer
from stampbench.strategies.importance import Scores


class Sauron(Strategy):
    """Remove filters near another one at the end of every epoch (Valverde and Tohka 2024, Algorithm 1).

    A term of the loss, weighted by λ, draws the maps of each layer together. After every epoch, a layer loses all
    filters whose distance to a randomly drawn one is below its threshold τ. τ rises when training has converged.
    Training ends after the protocol's `max_epochs`, without recovery epochs.

    The abstracts and the authors' code were read, not the paper. The code measures distances on the last batch of an
    epoch; here they are means over all training images, a pass that is charged to the run. Loss, optimiser and
    learning rate are the protocol's, and Adam's moments are carried over a removal as in the code.
    """

    distance_weight: float = Field(0.5, ge=0, description="λ, weight of the mean distance in the loss")
    first_threshold: float = Field(0.001, ge=0, lt=1, description="τ of the first epochs")
    last_threshold: float = Field(0.3, ge=0, lt=1, description="τ_max, largest threshold")
    threshold_steps: int = Field(15, ge=1, description="κ, number of rises from the first to the last threshold")
    threshold_patience: int = Field(5, ge=1, description="ρ, epochs of which convergence is judged, and between rises")
    most_pruned: float = Field(
        0.02, gt=0, lt=1, description="μ, fraction of a layer's filters whose loss in an epoch postpones a rise"
    )
    checkpoint_every: int = Field(2, ge=1, description="epochs between two checkpoints")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the doubling U-Net, whose transposed convolutions are pruned too."""
        unet = self.unet("doubling", spatial_dims, in_channels, out_channels)
        return unet.model_copy(update={"prune_upconvs": True})

    def fit(self, trainer: Trainer) -> None:
        """Train with the distance in the loss and prune after every epoch."""
        trainer.regularise("channel_distance", self.distance_weight)
        thresholds = {layer: Threshold(self) for layer in trainer.architecture.layers}
        losses: list[float] = []
        widths: list[Mapping[str, int]] = [trainer.architecture.layers]
        for epoch in range(1, trainer.max_epochs + 1):
            losses.append(trainer.train(epochs=1))
            for layer, threshold in thresholds.items():
                threshold.update(losses, [each[layer] for each in widths])
            if any(width > 1 for width in trainer.architecture.layers.values()):
                levels = {layer: each.value for layer, each in thresholds.items()}
                if near := filters_below(trainer.score("channel_distance"), levels):
                    trainer.prune(near, "carry")
            widths.append(trainer.architecture.layers)
            if epoch % self.checkpoint_every == 0 or epoch == trainer.max_epochs:
                trainer.checkpoint()


class Threshold:
    """The threshold τ of one layer, which rises when training has converged.

    Attributes:
        value: τ.
    """

    def __init__(self, settings: Sauron) -> None:
        self._settings = settings
        self._grid = np.linspace(settings.first_threshold, settings.last_threshold, settings.threshold_steps + 1)
        self._position = self._patience = 0

    @property
    def value(self) -> float:
        """τ."""
        return float(self._grid[self._position])

    def update(self, losses: Sequence[float], widths: Sequence[int]) -> None:
        """Raise τ if training has converged, at most once in ρ + 1 epochs.

        Args:
            losses: Training loss of every epoch, this one included.
            widths: Filters of the layer before the first epoch and after every earlier one.
        """
        if self._patience > 0:
            self._patience -= 1
        elif self._converged(losses, widths):
            self._patience = self._settings.threshold_patience
            self._position = min(self._position + 1, self._settings.threshold_steps)

    def _converged(self, losses: Sequence[float], widths: Sequence[int]) -> bool:
        """Whether the last loss is within the range of the ρ before, and the last epoch cost the layer few filters.

        The authors' code validates every second epoch and waits for ρ + 1 validation losses.
        """
        patience = self._settings.threshold_patience
        if len(losses) < 2 * (patience + 1):
            return False
        before = losses[-patience - 1 : -1]
        lost = widths[-2] - widths[-1]
        return min(before) <= losses[-1] <= max(before) and lost < math.ceil(self._settings.most_pruned * widths[-2])


def filters_below(distances: Scores, thresholds: Mapping[str, float]) -> list[Filter]:
    """Return the filters whose distance is below their layer's threshold, except the one they are compared with.

    Of several filters at distance 0, which all equal the one they are compared with, the first one stays.

    Args:
        distances: Distances of the filters of each layer; that of the filter that they are compared with is 0.
        thresholds: Threshold of each layer.
    """
    return [
        Filter(layer, number, distance)
        for layer, each in distances.items()
        for reference in [each.index(min(each))]
        for number, distance in enumerate(each)
        if distance < thresholds[layer] and number != reference
    ]
