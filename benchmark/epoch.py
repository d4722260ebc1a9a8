"""One pass over the training images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stampbench.benchmark.data import Images


def train_epoch(
    optimiser: torch.optim.Optimizer,
    images: Images,
    order: Tensor,
    batch_size: int,
    batch_loss: Callable[[Tensor, Tensor], Tensor],
    scaler: torch.amp.GradScaler | None = None,
) -> float:
    """Step through images in `order` and return their mean loss; the last batch as it comes.

    `batch_loss` takes pixels and labels; `scaler` keeps the gradients of half precision from vanishing. Nothing
    waits for the device before the end.
    """
    total = torch.zeros(())
    for indices in torch.split(order, batch_size):
        optimiser.zero_grad(set_to_none=True)
        loss = batch_loss(images.pixels[indices], images.labels[indices])
        if scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        else:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
        total = total.to(loss.device) + loss.detach() * len(indices)
    return float(total) / len(order)
