"""Layers that several networks share, for 2 or 3 spatial dims."""

from __future__ import annotations

from torch import Tensor, nn

from stampbench.models.unet import CONV, NORM


def normalised_conv(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Return Conv (no bias) → BatchNorm → ReLU, which keeps the size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Input channels.
        out_channels: Output channels.
        kernel_size: Edge of the kernel, an odd number.
    """
    conv = CONV[spatial_dims](in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, NORM[spatial_dims](out_channels), nn.ReLU())


def upsampled(x: Tensor, factor: int, *, align_corners: bool = False) -> Tensor:
    """Return `x` with every edge `factor` times as long, by bilinear or trilinear interpolation."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return nn.functional.interpolate(x, scale_factor=factor, mode=mode, align_corners=align_corners)
