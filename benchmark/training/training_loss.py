"""The training loss of a batch: that of the labels, with what a strategy adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.environment.precision import HALF
from stampbench.benchmark.training.losses import deep_supervision_loss, distillation_loss, make_loss
from stampbench.benchmark.training.parent import FinishedParent, Teacher
from stampbench.benchmark.training.regularisation import Regularisation
from stampbench.models.model import Model


class TrainingLoss:
    """Computes losses on one device.

    Attributes:
        teacher: what is distilled; None: nothing.
        regularisation: term that is added; None: none.
    """

    def __init__(self, protocol: Protocol, device: torch.device, parents: Mapping[str, FinishedParent]) -> None:
        self.teacher: Teacher | None = None
        self.regularisation: Regularisation | None = None
        self._device, self._half, self._parents = device, HALF.get(protocol.precision), parents
        self._loss = make_loss(protocol.loss)

    def of_labels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the protocol's loss of logits `(N, classes, *spatial)` and labels `(N, *spatial)`."""
        loss: Tensor = self._loss(logits, labels.long().unsqueeze(1))
        return loss

    def of_batch(self, model: Model, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of a batch, distillation and regularisation included."""
        if self.regularisation is None:
            return self._of_batch(model, pixels, labels)
        with self.regularisation.watching(model) as terms:
            return self.regularisation.added(self._of_batch(model, pixels, labels), terms)

    def state(self) -> dict[str, Any]:
        """Return what a strategy has set."""
        return {
            "teacher": None if self.teacher is None else tuple(self.teacher),
            "regularisation": None if self.regularisation is None else tuple(self.regularisation),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.teacher = None if state["teacher"] is None else Teacher(*state["teacher"])
        # States of earlier versions have no such entry.
        self.regularisation = Regularisation(*state["regularisation"]) if state.get("regularisation") else None

    def _of_batch(self, model: Model, pixels: Tensor, labels: Tensor) -> Tensor:
        # A training set that does not fit on the device stays in main memory.
        pixels, labels = pixels.to(self._device), labels.to(self._device)
        with torch.autocast(self._device.type, self._half, enabled=self._half is not None):
            logits = model(pixels)
        if isinstance(logits, list):  # deep supervision, without distillation
            return deep_supervision_loss(self.of_labels, logits, labels)
        logits = logits.float()
        loss = self.of_labels(logits, labels)
        if self.teacher is None:
            return loss
        parent, weight, temperature = self.teacher
        with torch.no_grad():
            teacher = self._parents[parent].model(pixels)
        return (1 - weight) * loss + weight * distillation_loss(logits, teacher, temperature)
