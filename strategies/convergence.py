"""Training to convergence: until the validation loss stops improving."""

from __future__ import annotations

import math
from collections.abc import Callable

from stampbench.strategies.base import Trainer


def train_to_convergence(
    trainer: Trainer, patience: int, after_epoch: Callable[[int], None] = lambda epoch: None
) -> None:
    """Train until the validation loss has not improved for `patience` epochs, then restore the best weights.

    This is the stopping criterion of Dinsdale et al. 2022, §2.5.1. Training ends after the protocol's
    `max_epochs` at the latest.

    Args:
        trainer: The trainer of the run.
        patience: Number of epochs without improvement after which training ends.
        after_epoch: Function called with the number of each epoch, counted from 1, except the one that exhausts
            the patience.
    """
    best, waited = math.inf, 0
    for epoch in range(1, trainer.max_epochs + 1):
        trainer.train(epochs=1)
        loss = trainer.validate().loss
        if loss < best:
            best, waited = loss, 0
            trainer.keep()
        else:
            waited += 1
        if waited >= patience:
            break
        after_epoch(epoch)
    trainer.restore()
