"""One training step: forward pass, loss, backward pass and optimiser."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stampbench.benchmark.training.training_loss import TrainingLoss
from stampbench.models.model import Model

Step = Callable[[Tensor, Tensor], Tensor]
"""Trains on pixels `(N, channels, *spatial)` and labels `(N, *spatial)`, and returns the loss, without its graph."""


def step_settings(optimiser: torch.optim.Optimizer, model: Model, loss: TrainingLoss) -> object:
    """Return what a step depends on besides weights and images, and what strategies and schedules change."""
    return [group["lr"] for group in optimiser.param_groups], model.dropout_probabilities(), loss.state()


class TrainingStep:
    """A training step that is executed operation by operation.

    Args:
        optimiser: optimiser of the network's parameters.
        batch_loss: loss of one batch's pixels and labels.
        scaler: loss scaling, which fp16 needs; None: no scaling.
        gradient_norm: largest L2 norm of all gradients together; None: no limit.
    """

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        batch_loss: Callable[[Tensor, Tensor], Tensor],
        scaler: torch.amp.GradScaler | None = None,
        gradient_norm: float | None = None,
    ) -> None:
        self.optimiser, self._batch_loss = optimiser, batch_loss
        self._scaler, self._gradient_norm = scaler, gradient_norm

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch and return its loss."""
        optimiser, scaler = self.optimiser, self._scaler
        optimiser.zero_grad(set_to_none=True)
        loss = self._batch_loss(pixels, labels)
        if scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            self._clip()
            optimiser.step()
        else:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if self._gradient_norm is not None:
                scaler.unscale_(optimiser)
            self._clip()
            scaler.step(optimiser)
            scaler.update()
        return loss.detach()

    def _clip(self) -> None:
        if self._gradient_norm is not None:
            parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self._gradient_norm)
