"""Activations computed twice instead of kept, for batches that do not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_Norm = nn.BatchNorm2d | nn.BatchNorm3d


def recomputed(module: nn.Module, x: Tensor, fast: bool) -> Tensor:
    """`module(x, fast)`, keeping only x for the backward pass (Chen et al. 2016).

    The function stays the same, dropout included, and so do the statistics that BatchNorm sees: the whole
    batch, once. Smaller batches with added gradients would be another method.
    """
    output: Tensor = checkpoint(
        module, x, fast, use_reentrant=False, context_fn=lambda: (nullcontext(), _second_time(module))
    )
    return output


@contextmanager
def _second_time(module: nn.Module) -> Iterator[None]:
    """Running statistics stay as the first time left them."""
    norms = [each for each in module.modules() if isinstance(each, _Norm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked
