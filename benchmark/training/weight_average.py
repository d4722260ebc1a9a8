"""Exponential moving average of a network's weights over epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from stampbench.benchmark.training.resume import detached
from stampbench.models.model import Model


class WeightAverage:
    """Average of weights and normalisation statistics after each epoch; later epochs weigh more.

    After epoch t + 1, average = d_t · average + (1 − d_t) · weights with d_t = min(decay, t / (t + 1)), so that the
    average of the first epochs is a plain mean.

    Attributes:
        decay: largest weight of the previous average, 0 to 1; 0: the weights themselves.
        epochs: epochs that are averaged.
        state: the average; None: nothing is averaged yet.
    """

    def __init__(self, decay: float = 0.0, epochs: int = 0, state: dict[str, Tensor] | None = None) -> None:
        self.decay, self.epochs, self.state = decay, epochs, state

    def saved(self) -> tuple[float, int, dict[str, Tensor] | None]:
        """Return the arguments of an average that continues like this one."""
        return self.decay, self.epochs, None if self.state is None else dict(self.state)

    def restart(self) -> None:
        """Forget the average, because the network is another one."""
        self.epochs, self.state = 0, None

    def update(self, model: Model) -> None:
        """Take in the weights after an epoch."""
        if self.decay == 0:
            return
        weights = detached(model.state_dict())
        if self.state is None:
            self.state = weights
        else:
            decay = min(self.decay, self.epochs / (self.epochs + 1))
            for name, value in weights.items():
                average = self.state[name].to(value.device)  # a resume state is loaded to the CPU
                self.state[name] = torch.lerp(value, average, decay) if value.is_floating_point() else value
        self.epochs += 1

    @contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Give the network its averaged weights for a while."""
        if self.state is None:
            yield
            return
        own = detached(model.state_dict())
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)
