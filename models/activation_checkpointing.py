"""Activation checkpointing: recompute activations in the backward pass instead of storing them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_Norm = nn.BatchNorm2d | nn.BatchNorm3d


def checkpoint_activations(modules: Sequence[nn.Module], x: Tensor, fast: bool) -> Tensor:
    """Apply `module(x, fast)` for each module in turn and store only `x` for the backward pass (Chen et al. 2016).

    The backward pass computes the activations a second time. Outputs, gradients and running statistics are
    the same as without checkpointing: dropout draws the same masks, and BatchNorm sees the whole batch and
    updates its statistics once. Gradient accumulation over smaller batches would save memory too, but
    BatchNorm would then see other statistics.

    Args:
        modules: Modules that are called as `module(x, fast)`.
        x: Input of the first module, `(N, C, *spatial)`.
        fast: Whether the modules use the fast CPU kernels.
    """

    def forward(x: Tensor) -> Tensor:
        for module in modules:
            x = module(x, fast)
        return x

    output: Tensor = checkpoint(
        forward, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _Recomputation(modules))
    )
    return output


class _Recomputation:
    """Context of the second forward pass, which must not repeat the side effects of the first one.

    Running statistics of BatchNorm stay unchanged, and `see_squares` is not called again. The context can be
    entered several times, because a second backward pass through the same graph recomputes once more.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules

    def __enter__(self) -> None:
        self._observed = [(module, module.see_squares) for module in self._modules if hasattr(module, "see_squares")]
        for module, _ in self._observed:
            module.see_squares = None  # type: ignore[assignment]
        norms = [each for module in self._modules for each in module.modules() if isinstance(each, _Norm)]
        self._before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                # BatchNorm increments this tensor in place; the copy protects the original.
                norm.num_batches_tracked = norm.num_batches_tracked.clone()

    def __exit__(self, *_: object) -> None:
        for module, see_squares in self._observed:
            module.see_squares = see_squares
        for norm, momentum, tracked in self._before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
