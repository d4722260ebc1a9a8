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
) -> float:
    """Step through images in `order` and return their mean loss; the last batch as it comes.

    `batch_loss` takes pixels and labels. Nothing waits for the device before the end.
    """
    total = torch.zeros((), device=images.pixels.device)
    for indices in torch.split(order, batch_size):
        optimiser.zero_grad(set_to_none=True)
        loss = batch_loss(images.pixels[indices], images.labels[indices])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.detach() * len(indices)
    return float(total) / len(order)
