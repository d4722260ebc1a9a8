"""One epoch of training."""

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
    gradient_norm: float | None = None,
) -> float:
    """Train on every batch and return the mean loss over images.

    The device is synchronised only once, at the end.

    Args:
        optimiser: optimiser of the network's parameters.
        batches: pixels `(N, channels, *spatial)` and labels `(N, *spatial)`.
        batch_loss: loss of one batch's pixels and labels.
        scaler: loss scaling, which fp16 needs; None: no scaling.
        gradient_norm: largest L2 norm of all gradients together; None: no limit.
    """
    total, number = torch.zeros(()), 0
    for pixels, labels in batches:
        optimiser.zero_grad(set_to_none=True)
        loss = batch_loss(pixels, labels)
        if scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            _clip(optimiser, gradient_norm)
            optimiser.step()
        else:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if gradient_norm is not None:
                scaler.unscale_(optimiser)
            _clip(optimiser, gradient_norm)
            scaler.step(optimiser)
            scaler.update()
        total, number = total.to(loss.device) + loss.detach() * len(pixels), number + len(pixels)
    return float(total) / number


def _clip(optimiser: torch.optim.Optimizer, most: float | None) -> None:
    if most is not None:
        torch.nn.utils.clip_grad_norm_([each for group in optimiser.param_groups for each in group["params"]], most)
