"""Pooling over windows that do not overlap, with gradients that are deterministic on a GPU.

PyTorch's `max_pool` and `avg_pool3d` add gradients in an order that depends on timing, since windows may overlap in
general, and refuse to run on a GPU if deterministic algorithms are required. The windows of these networks never
overlap, so that each voxel receives one gradient and nothing has to be added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def needs_deterministic_form(x: Tensor) -> bool:
    """Return whether PyTorch may refuse to compute gradients of `x` in its usual forms."""
    return x.is_cuda and torch.are_deterministic_algorithms_enabled()


def max_pool(module: nn.MaxPool2d | nn.MaxPool3d, x: Tensor) -> Tensor:
    """Return `module(x)` for a module whose stride is its kernel size, without padding."""
    if needs_deterministic_form(x):
        kernel = module.kernel_size
        return deterministic_max_pool(x, (kernel,) * (x.ndim - 2) if isinstance(kernel, int) else kernel)
    output: Tensor = module(x)
    return output


def mean_pool(x: Tensor, kernel: Sequence[int]) -> Tensor:
    """Return the means over windows of `(N, C, *spatial)`; what is left over at the end of an axis is ignored."""
    if needs_deterministic_form(x):
        return deterministic_mean_pool(x, kernel)
    return (nn.functional.avg_pool2d if x.ndim == 4 else nn.functional.avg_pool3d)(x, tuple(kernel))


def deterministic_max_pool(x: Tensor, kernel: Sequence[int]) -> Tensor:
    """Return the largest values of windows of `(N, C, *spatial)`; values and gradients are those of PyTorch."""
    output: Tensor = _MaxPool.apply(x, tuple(kernel))  # type: ignore[no-untyped-call]
    return output


def deterministic_mean_pool(x: Tensor, kernel: Sequence[int]) -> Tensor:
    """Return the means over windows of `(N, C, *spatial)` by a sum over axes, whose gradient is a copy."""
    axes = [(size // edge, edge) for size, edge in zip(x.shape[2:], kernel, strict=True)]
    whole = x[(slice(None), slice(None), *(slice(number * edge) for number, edge in axes))]
    windows = whole.reshape(*x.shape[:2], *chain(*axes))
    return windows.mean(tuple(range(3, windows.ndim, 2)))


class _MaxPool(torch.autograd.Function):
    """The forward pass of PyTorch, whose indices say where each gradient belongs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: tuple[int, ...]) -> Tensor:
        pool = nn.functional.max_pool2d if x.ndim == 4 else nn.functional.max_pool3d
        output, index = pool(x, kernel, return_indices=True)
        ctx.save_for_backward(index)
        ctx.kernel, ctx.shape = kernel, x.shape
        return output

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (gradient,), (index,) = gradients, ctx.saved_tensors
        size = ctx.shape[2:]
        result = gradient.new_zeros(ctx.shape)
        positions = torch.arange(math.prod(size), device=index.device).view(size)
        # By comparison, not by scatter: its deterministic form on a GPU sorts, and cannot be part of a CUDA graph.
        for start in product(*map(range, ctx.kernel)):
            axes = zip(start, ctx.kernel, index.shape[2:], strict=True)
            voxels = tuple(slice(first, edge * number, edge) for first, edge, number in axes)
            result[(slice(None), slice(None), *voxels)] = torch.where(index == positions[voxels], gradient, 0)
        return result, None
