"""Training until the validation loss stops improving."""

from __future__ import annotations

import math
from collections.abc import Callable

from stampbench.strategies.base import Trainer


def train_to_convergence(
    trainer: Trainer, patience: int, after_epoch: Callable[[int], None] = lambda epoch: None
) -> None:
    """Train until `patience` epochs bring no better validation loss, then restore the best weights.

    Dinsdale et al. 2022, §2.5.1. The protocol's `max_epochs` ends it in any case. `after_epoch` hears the
    number of every epoch, counted from 1.
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
