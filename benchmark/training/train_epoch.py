"""One epoch of training."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from stampbench.benchmark.training.fold_data import Pair
from stampbench.benchmark.training.training_step import Step


def train_epoch(step: Step, batches: Iterable[Pair]) -> float:
    """Train on every batch and return the mean loss over images.

    The device is synchronised only once, at the end.

    Args:
        step: trains on one batch.
        batches: pixels `(N, channels, *spatial)` and labels `(N, *spatial)`.
    """
    total, number = torch.zeros(()), 0
    for pixels, labels in batches:
        loss = step(pixels, labels)
        total, number = total.to(loss.device) + loss * len(pixels), number + len(pixels)
    return float(total) / number
