"""Fast CPU kernels for networks with few channels: fused batch normalisation and channelwise dropout.

Motivation: with 4 to 32 channels, PyTorch's convolutions are fastest on channels-last tensors. PyTorch's
batch normalisation is slow on such tensors and loses three decimal digits, because it sums all voxels one
after another.

Method: in memory, a channels-last tensor is a matrix with one row of C numbers per voxel. The operations
below view it with k voxels per row, where k is the smallest power of two that makes a row long enough to
fill whole vector registers, or the largest one that divides the number of voxels. Sums over voxels are then
column sums. Sums of products are the diagonal of a small matrix product, which is the fastest reduction
available.

Let m and v be the mean and the variance of the activation a over batch and space, i = 1/√(v + ε), and let d
be the dropout factor per image and channel (0 or 1/(1 − p)). The output is

    y = d·(γ·i·(a − m) + β) = a·(d·γ·i) + d·(β − m·γ·i)

which is a single multiply-add. Let g be the gradient with respect to y, n the number of values per channel,
and x̂ = i·(a − m). Then

    ∂β = Σ d·g        ∂γ = Σ d·g·x̂ = i·(Σ d·g·a − m·Σ d·g)
    ∂a = γ·i·(d·g − ∂β/n − x̂·∂γ/n) = g·(d·γ·i) + a·(−γ·i²·∂γ/n) + (−γ·i·∂β/n + γ·i²·m·∂γ/n)

which are again sums, sums of products and multiply-adds (batch normalisation: Ioffe and Szegedy 2015, §3;
channelwise dropout: Tompson et al. 2015, §4). The differences in v = Σa²/n − m² and in ∂γ lose digits by
cancellation when the mean is large relative to the standard deviation; a is then replaced by a − m first.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stampbench.models.errors import ModelError

Kernels = Literal["plain", "fast"]
"""Implementation of a network's layers: `plain` uses PyTorch's modules, `fast` this module's functions on a CPU."""

_CANCELLATION_RATIO = 30.0
"""Above this m²/v, the mean is subtracted first; below it, at most log10(30) of seven digits are lost."""
_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_PRODUCT_ROW = 16
"""Minimum numbers per row in matrix products; longer rows only add work outside the diagonal."""
_ROW = 64
"""Minimum numbers per row in all other operations."""


def uses_fast_kernels(kernels: Kernels, x: Tensor) -> bool:
    """Return whether a network with these `kernels` processes `x` with the functions of this module."""
    return kernels == "fast" and x.device.type == "cpu"


def channels_last(x: Tensor) -> Tensor:
    """Return `x`, `(N, C, *spatial)`, with the channel as the fastest axis in memory; copy only if necessary."""
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    # A tensor with one channel has both memory formats at once; convolutions read the format from the strides.
    return x if x.shape[1] > 1 or x.stride(1) == 1 else x.as_strided(x.shape, (x.stride(0), 1, *x.stride()[2:]))


def convolve(module: nn.Module, x: Tensor, fast: bool) -> Tensor:
    """Return `module(x)` for a convolution or a transposed convolution.

    With `fast`, the input is converted to channels-last, and a single image is processed by oneDNN or by a
    matrix product. PyTorch itself would use a slow fallback instead of oneDNN for a batch of one when
    N·C·D·H ≤ 20,480, which holds for most layers of a small network.
    """
    if fast:
        x = channels_last(x)
    alone = fast and len(x) == 1 and x.dtype == torch.float32
    # Hooks, which rank the filters of traced networks and drop them, need a call of the module.
    if alone and _ONEDNN and not torch.is_autocast_enabled("cpu") and not module._forward_pre_hooks:
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            padding, stride, dilation = module.padding, module.stride, module.dilation
            assert not isinstance(padding, str)
            return torch.mkldnn_convolution(x, module.weight, module.bias, padding, stride, dilation, module.groups)
        if isinstance(module, nn.ConvTranspose3d):
            return _upsample(module, x)
    output: Tensor = module(x)
    return output


def _upsample(module: nn.ConvTranspose3d, x: Tensor) -> Tensor:
    """Apply a transposed convolution whose output blocks do not overlap (kernel = stride) to one volume.

    A single matrix product maps the C numbers of each input voxel to the output channels of its whole block.
    """
    assert module.kernel_size == module.stride
    assert module.bias is not None
    i, j, k = module.kernel_size
    depth, height, width = x.shape[2:]
    kernel = module.weight.movedim(1, -1).reshape(x.shape[1], -1)
    blocks = torch.addmm(module.bias.repeat(i * j * k), x.movedim(1, -1).reshape(-1, x.shape[1]), kernel)
    voxels = blocks.view(depth, height, width, i, j, k, -1).permute(0, 3, 1, 4, 2, 5, 6)
    return voxels.reshape(1, depth * i, height * j, width * k, -1).movedim(-1, 1)


def channel_sums(x: Tensor) -> Tensor:
    """Return the sum over space of a channels-last `(N, C, *spatial)`, as `(N, C)`."""
    rows = _rows(x, _ROW)
    return rows.sum(1).view(len(x), -1, x.shape[1]).sum(1)


def channel_products(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum over space of x·y, both channels-last `(N, C, *spatial)`, as `(N, C)`."""
    products = torch.bmm(_rows(x, _PRODUCT_ROW).mT, _rows(y, _PRODUCT_ROW))
    return products.diagonal(dim1=1, dim2=2).reshape(len(x), -1, x.shape[1]).sum(1)


def normalise(a: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> Tensor:
    """Apply batch normalisation in evaluation mode to a channels-last `(N, C, *spatial)`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return _affine(a, scale, norm.bias - norm.running_mean * scale)


def clamp_channels(x: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """Limit a channels-last `(N, C, *spatial)`, which is overwritten, to bounds per channel, `(C,)`."""
    rows = _rows(x, _ROW).clamp_(_per_row(lowest, x), _per_row(highest, x))
    return rows.view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def normalise_and_drop(a: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d, p: float) -> tuple[Tensor, Tensor]:
    """Apply `norm` in training mode, then drop whole channels with probability `p`.

    Running statistics are updated as in PyTorch, and dropout draws the same random numbers as PyTorch.

    Args:
        a: Activations, channels-last `(N, C, *spatial)`, float32.
        norm: BatchNorm layer with C features; its running statistics are updated in place.
        p: Probability that a channel of an image is dropped.

    Returns:
        The output `(N, C, *spatial)`, and the sum over space of a², `(N, C)`.

    Raises:
        ModelError: when there is a single value per channel, which has no variance.
    """
    count = _values_per_channel(a)
    if count == 1:
        raise ModelError(
            f"batch normalisation: shape {tuple(a.shape)} has one value per channel; "
            "use a larger batch or larger images"
        )
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
    """Forward and backward pass of `normalise_and_drop`, after the formulas in the module docstring."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, a: Tensor, weight: Tensor, bias: Tensor, epsilon: float, factor: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        count = _values_per_channel(a)
        mean = channel_sums(a).sum(0) / count
        squares = channel_products(a, a)
        variance = squares.sum(0) / count - mean * mean
        centred = bool((mean * mean > _CANCELLATION_RATIO * variance).any())
        middle = mean
        if centred:
            a = _affine(a, torch.ones_like(mean), -mean)
            # Subtracting a rounded mean leaves a small mean behind, which would shift every output.
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
        count = _values_per_channel(a)
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
    """Return x·scale + shift, with scale and shift per channel `(C,)` or per image and channel `(N, C)`."""
    rows = torch.addcmul(_per_row(shift, x), _rows(x, _ROW), _per_row(scale, x))
    return rows.view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def _rows(x: Tensor, width: int) -> Tensor:
    """View a channels-last `(N, C, *spatial)` as `(N, rows, k·C)`, if possible with `width` or more numbers per row."""
    return x.movedim(1, -1).reshape(len(x), -1, _voxels_per_row(x, width) * x.shape[1])


def _voxels_per_row(x: Tensor, width: int) -> int:
    """Return the smallest power of two that fills a row, or the largest one that divides the number of voxels."""
    voxels, channels, k = x[0, 0].numel(), x.shape[1], 1
    while k * channels < width and voxels % (2 * k) == 0:
        k *= 2
    return k


def _per_row(values: Tensor, x: Tensor) -> Tensor:
    """Repeat numbers per channel for each voxel of a row of `x`; returns `(1 or N, 1, k·C)`."""
    k, channels = _voxels_per_row(x, _ROW), x.shape[1]
    return values.view(-1, 1, channels).expand(-1, k, channels).reshape(-1, 1, k * channels)


def _times(values: Tensor, factor: Tensor | None) -> Tensor:
    return values if factor is None else values * factor


def _values_per_channel(a: Tensor) -> int:
    return a.numel() // a.shape[1]
