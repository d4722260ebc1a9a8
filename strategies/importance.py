"""How much a filter matters: one number per filter, from the images it sees (Dinsdale et al. 2022, §2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from stampbench.models.unet import UNet

Scores = dict[str, list[float]]
"""Per prunable layer, the score of each of its filters."""


def activation_norm(model: UNet, images: Iterable[Tensor], order: int) -> Scores:
    """Lp norm of each filter's ReLU output over an image, averaged over all images (eq. 1 and 2).

    In evaluation mode (running statistics, no dropout) and without gradients; each image counts once,
    whatever the batches. `images` yields `(n, channels, *spatial)` on the model's device.
    """
    sums: dict[str, Tensor] = {}
    counted = 0

    def add(name: str, _module: torch.nn.Module, _inputs: object, output: Tensor) -> None:
        norms = torch.linalg.vector_norm(output.flatten(2), ord=order, dim=2).sum(dim=0, dtype=torch.float64)
        sums[name] = sums[name] + norms if name in sums else norms

    hooks = [module.register_forward_hook(partial(add, name)) for name, module in model.activations().items()]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in images:
                model(batch)
                counted += len(batch)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return {name: (sums[name] / counted).tolist() for name in model.architecture.layers}


IMPORTANCES: dict[str, Callable[[UNet, Iterable[Tensor]], Scores]] = {
    "l2": partial(activation_norm, order=2),
    "l1": partial(activation_norm, order=1),
}
"""By the name that a strategy's `importance` takes."""
