"""One pass over the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from stampbench.benchmark.training.fold_data import Pair


def train_epoch(
    optimiser: torch.optim.Optimizer,
    batches: Iterable[Pair],
    batch_loss: Callable[[Tensor, Tensor], Tensor],
    scaler: torch.amp.GradScaler | None = None,
) -> float:
    """Step through batches and return the mean loss over their images.

    `batch_loss` takes pixels and labels; `scaler` keeps the gradients of half precision from vanishing. Nothing
    waits for the device before the end.
    """
    total, number = torch.zeros(()), 0
    for pixels, labels in batches:
        optimiser.zero_grad(set_to_none=True)
        loss = batch_loss(pixels, labels)
        if scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        else:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
        total, number = total.to(loss.device) + loss.detach() * len(pixels), number + len(pixels)
    return float(total) / number
