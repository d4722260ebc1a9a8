"""Batch normalisation and channelwise dropout in one, for the few channels of a compact network on a CPU.

Why: with 4 to 32 channels PyTorch's convolutions are fastest on channels-last tensors, but its batch
normalisation is slow there and loses three digits (its sums run over all voxels one by one).

How: a channels-last tensor is, in memory, a matrix with a row of C numbers per voxel. Seen with rows of k
voxels, k the smallest power of two that makes them long enough (and divides the voxels), the operations
below fill whole vector registers. Sums over voxels are
column sums; sums of products are the diagonal of a small matrix product, the fastest reduction there is.
With m and v the mean and variance of a over batch and space, i = 1/√(v + ε), and d the dropout's factor
per image and channel (0 or 1/(1 − p)),

    y = d·(γ·i·(a − m) + β) = a·(d·γ·i) + d·(β − m·γ·i)

which is one multiply-add. For the gradient g of y, with n numbers per channel and x̂ = i·(a − m),

    ∂β = Σ d·g        ∂γ = Σ d·g·x̂ = i·(Σ d·g·a − m·Σ d·g)
    ∂a = γ·i·(d·g − ∂β/n − x̂·∂γ/n) = g·(d·γ·i) + a·(−γ·i²·∂γ/n) + (−γ·i·∂β/n + γ·i²·m·∂γ/n)

again sums, sums of products and multiply-adds (Ioffe and Szegedy 2015, §3; channelwise dropout:
Tompson et al. 2015, §4). v = Σa²/n − m² and ∂γ cancel where the mean is large against the spread, so
there a is replaced by a − m first.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stampbench.models.errors import ModelError

Kernels = Literal["plain", "fast"]
"""How a network computes: PyTorch's modules as everybody stacks them, or the same functions from here, on a CPU."""

_CANCELS = 30.0
"""From this m²/v on the mean is taken off first; below, at most log10(30) of seven digits are lost."""
_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_VECTOR, _ROW = 16, 64
"""Numbers per row: for matrix products, where more are wasted work, and for everything else."""


def runs_fast(kernels: Kernels, x: Tensor) -> bool:
    """Whether a network with these kernels computes x by the functions from here."""
    return kernels == "fast" and x.device.type == "cpu"


def channels_last(x: Tensor) -> Tensor:
    """`(N, C, *spatial)` with the channel as the fastest axis in memory, itself if it is so already."""
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    # A single channel is in both orders at once; its strides have to tell the convolutions which is meant.
    return x if x.shape[1] > 1 or x.stride(1) == 1 else x.as_strided(x.shape, (x.stride(0), 1, *x.stride()[2:]))


def convolve(module: nn.Module, x: Tensor, fast: bool) -> Tensor:
    """`module(x)` for a convolution or transposed convolution; `fast`: channels-last, also for a single image.

    For a batch of one PyTorch takes a slow fallback instead of oneDNN when N·C·D·H ≤ 20,480, which is most
    of a small network.
    """
    if fast:
        x = channels_last(x)
    if fast and len(x) == 1 and x.dtype == torch.float32 and _ONEDNN and not torch.is_autocast_enabled("cpu"):
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            padding, stride, dilation = module.padding, module.stride, module.dilation
            assert not isinstance(padding, str)
            return torch.mkldnn_convolution(x, module.weight, module.bias, padding, stride, dilation, module.groups)
        if isinstance(module, nn.ConvTranspose3d):
            return _upsample(module, x)
    output: Tensor = module(x)
    return output


def _upsample(module: nn.ConvTranspose3d, x: Tensor) -> Tensor:
    """A transposed convolution whose windows do not overlap (kernel = stride), of one volume.

    One matrix product: each voxel's C numbers give the `out` numbers of every voxel of its window.
    """
    assert module.kernel_size == module.stride
    assert module.bias is not None
    i, j, k = module.kernel_size
    depth, height, width = x.shape[2:]
    kernel = module.weight.movedim(1, -1).reshape(x.shape[1], -1)
    windows = torch.addmm(module.bias.repeat(i * j * k), x.movedim(1, -1).reshape(-1, x.shape[1]), kernel)
    voxels = windows.view(depth, height, width, i, j, k, -1).permute(0, 3, 1, 4, 2, 5, 6)
    return voxels.reshape(1, depth * i, height * j, width * k, -1).movedim(-1, 1)


def channel_sums(x: Tensor) -> Tensor:
    """Σ over space of a channels-last `(N, C, *spatial)`: `(N, C)`."""
    rows = _rows(x, _ROW)
    return rows.sum(1).view(len(x), -1, x.shape[1]).sum(1)


def channel_products(x: Tensor, y: Tensor) -> Tensor:
    """Σ over space of x·y, both channels-last `(N, C, *spatial)`: `(N, C)`."""
    products = torch.bmm(_rows(x, _VECTOR).mT, _rows(y, _VECTOR))
    return products.diagonal(dim1=1, dim2=2).reshape(len(x), -1, x.shape[1]).sum(1)


def normalise(a: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> Tensor:
    """Batch normalisation in evaluation mode of a channels-last `(N, C, *spatial)`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return _affine(a, scale, norm.bias - norm.running_mean * scale)


def normalise_and_drop(a: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d, p: float) -> tuple[Tensor, Tensor]:
    """`norm` in training mode, then dropout of whole channels with probability p.

    Running statistics go on as PyTorch's do, and the dropout draws the same random numbers.

    Args:
        a: channels-last `(N, C, *spatial)`, float32.

    Returns:
        The output, and Σ over space of a², `(N, C)`.

    Raises:
        ModelError: a single value per channel, which has no variance.
    """
    count = _count(a)
    if count == 1:
        raise ModelError(f"one value per channel, {tuple(a.shape)}, cannot be normalised")
    factor = None
    if p > 0:
        factor = a.new_empty(a.shape[:2]).bernoulli_(1 - p)
        factor = factor.div_(1 - p) if p < 1 else factor
    output, mean, variance, squares = _NormaliseAndDrop.apply(  # type: ignore[no-untyped-call]
        a, norm.weight, norm.bias, norm.eps, factor
    )
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        norm.num_batches_tracked.add_(1)
    return output, squares


class _NormaliseAndDrop(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, a: Tensor, weight: Tensor, bias: Tensor, epsilon: float, factor: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        count = _count(a)
        mean = channel_sums(a).sum(0) / count
        squares = channel_products(a, a)
        variance = squares.sum(0) / count - mean * mean
        centred = bool((mean * mean > _CANCELS * variance).any())
        middle = mean
        if centred:
            a = _affine(a, torch.ones_like(mean), -mean)
            # What the rounded mean left over: small, but it would shift every output.
            middle = channel_sums(a).sum(0) / count
            variance = channel_products(a, a).sum(0) / count - middle * middle
            mean = mean + middle
        inverse = (variance + epsilon).rsqrt()
        scale = weight * inverse
        ctx.save_for_backward(a, weight, middle, inverse, factor)
        ctx.mark_non_differentiable(mean, variance, squares)
        return _affine(a, _times(scale, factor), _times(bias - middle * scale, factor)), mean, variance, squares

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gradient = gradients[0]
        assert gradient is not None
        a, weight, mean, inverse, factor = ctx.saved_tensors
        count = _count(a)
        gradient = channels_last(gradient)
        bias_gradient = _times(channel_sums(gradient), factor).sum(0)
        products = _times(channel_products(gradient, a), factor).sum(0)
        weight_gradient = inverse * (products - mean * bias_gradient)
        scale = weight * inverse
        slope = -scale * inverse * weight_gradient / count
        result = _affine(a, slope, -scale * bias_gradient / count - slope * mean)
        _rows(result, _ROW).addcmul_(_rows(gradient, _ROW), _per_row(_times(scale, factor), a))
        return result, weight_gradient, bias_gradient, None, None


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x·scale + shift; these per channel `(C,)` or per image and channel `(N, C)`."""
    rows = torch.addcmul(_per_row(shift, x), _rows(x, _ROW), _per_row(scale, x))
    return rows.view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def _rows(x: Tensor, width: int) -> Tensor:
    """A channels-last `(N, C, *spatial)` as `(N, rows, k·C)`: a view, with rows of `width` numbers or more."""
    return x.movedim(1, -1).reshape(len(x), -1, _voxels_per_row(x, width) * x.shape[1])


def _voxels_per_row(x: Tensor, width: int) -> int:
    """The smallest power of 2 that fills a row, or the largest that divides the voxels."""
    voxels, channels, k = x[0, 0].numel(), x.shape[1], 1
    while k * channels < width and voxels % (2 * k) == 0:
        k *= 2
    return k


def _per_row(values: Tensor, x: Tensor) -> Tensor:
    """Numbers per channel, repeated for the voxels of a row: `(1 or N, 1, k·C)`."""
    k, channels = _voxels_per_row(x, _ROW), x.shape[1]
    return values.view(-1, 1, channels).expand(-1, k, channels).reshape(-1, 1, k * channels)


def _times(values: Tensor, factor: Tensor | None) -> Tensor:
    return values if factor is None else values * factor


def _count(a: Tensor) -> int:
    return a.numel() // a.shape[1]
