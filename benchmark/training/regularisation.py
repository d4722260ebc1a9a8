"""Regularisation of the outputs of prunable layers during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.models.model import Model
from stampbench.models.pocketnet import PocketNet
from stampbench.strategies.regularisers import REGULARISERS


class Regularisation(NamedTuple):
    """The name of a regulariser, and the weight of its mean over layers in the loss."""

    name: str
    weight: float

    @contextmanager
    def watching(self, model: Model) -> Iterator[list[Tensor]]:
        """Collect the term of each prunable layer in the forward passes inside the context.

        Raises:
            TrainingFailedError: when the network has no layers that can be watched.
            UserError: when activations are recomputed instead of stored.
        """
        if isinstance(model, PocketNet):
            raise TrainingFailedError(f"regulariser '{self.name}': PocketNet's layers cannot be watched")
        if model.save_memory:
            raise UserError(f"regulariser '{self.name}': trains without saving memory", setting="save_memory")
        terms: list[Tensor] = []
        with model.watched(lambda _, output: terms.append(REGULARISERS[self.name](output.float()))):
            yield terms

    def added(self, loss: Tensor, terms: list[Tensor]) -> Tensor:
        """Return the loss with the weighted mean of the terms; a network without prunable layers has none."""
        return loss + self.weight * torch.stack(terms).mean() if terms else loss
