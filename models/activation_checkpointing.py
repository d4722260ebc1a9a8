"""Activations computed twice instead of kept, for batches that do not fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_Norm = nn.BatchNorm2d | nn.BatchNorm3d


def recomputed(modules: Sequence[nn.Module], x: Tensor, fast: bool) -> Tensor:
    """`module(x, fast)` of one module after the other, keeping only x for the backward pass (Chen et al. 2016).

    The function stays the same, dropout included, and so do the statistics that BatchNorm sees: the whole
    batch, once. Smaller batches with added gradients would be another method.
    """

    def forward(x: Tensor) -> Tensor:
        for module in modules:
            x = module(x, fast)
        return x

    output: Tensor = checkpoint(
        forward, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _SecondTime(modules))
    )
    return output


class _SecondTime:
    """Running statistics stay as the first time left them, and nobody sees the same numbers twice.

    Can be entered again, as a second backward pass through the same graph does.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules

    def __enter__(self) -> None:
        self._watched = [(module, module.see_squares) for module in self._modules if hasattr(module, "see_squares")]
        for module, _ in self._watched:
            module.see_squares = None  # type: ignore[assignment]
        norms = [each for module in self._modules for each in module.modules() if isinstance(each, _Norm)]
        self._before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()

    def __exit__(self, *_: object) -> None:
        for module, see in self._watched:
            module.see_squares = see
        for norm, momentum, tracked in self._before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
