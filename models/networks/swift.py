"""A network that is small and fast: a U-Net of constant width on an image whose blocks of voxels became channels."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.network import Network
from stampbench.models.unet import CONV, NORM, UNet


class SwiftUNet(Network, frozen=True):
    """U-Net of constant width behind a space-to-depth step, with an optional light refinement at full resolution.

    Most of a U-Net's time goes into its first level, and pruning leaves that level in place. Here blocks of
    `stride` voxels per axis become channels (space-to-depth, Shi et al. 2016, §2.2, in reverse), a flat U-Net
    (Hassler 2024) works on the smaller image, and its logits are spread over the voxels of each block again. The
    refinement, two convolutions at full resolution, sees the image and these logits, and adds to them.
    """

    f: int = Field(8, ge=1, le=1024, description="filters on every level")
    depth: int = Field(3, ge=1, le=7, description="number of pooling steps")
    stride: Literal[1, 2, 4] = Field(2, description="voxels per axis that become channels")
    stride_last: Literal[1, 2, 4] | None = Field(
        None, description="the same for the last axis in 3D, for thick slices; unset: as the others"
    )
    refine: int = Field(0, ge=0, le=1024, description="filters of the refinement at full resolution; 0: none")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return _Swift(in_channels, out_channels, self._strides(spatial_dims), self.f, self.depth, self.refine)

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 2^depth times the stride of each axis."""
        return tuple(stride * 2**self.depth for stride in self._strides(spatial_dims))

    def _strides(self, spatial_dims: int) -> tuple[int, ...]:
        last = self.stride_last if spatial_dims == 3 and self.stride_last is not None else self.stride
        return (*[self.stride] * (spatial_dims - 1), last)


class _Swift(nn.Module):
    """Maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`."""

    def __init__(
        self, in_channels: int, out_channels: int, strides: tuple[int, ...], f: int, depth: int, refine: int
    ) -> None:
        super().__init__()
        dims, block = len(strides), math.prod(strides)
        self.strides = strides
        self.coarse = UNet(UNetArchitecture.flat(dims, in_channels * block, out_channels * block, f=f, depth=depth))
        self.refine = (
            nn.Sequential(
                CONV[dims](in_channels + out_channels, refine, kernel_size=3, padding=1),
                nn.ReLU(inplace=True),
                NORM[dims](refine),
                CONV[dims](refine, out_channels, kernel_size=1),
            )
            if refine
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        logits = depth_to_space(self.coarse(space_to_depth(x, self.strides)), self.strides)
        return logits if self.refine is None else logits + self.refine(torch.cat([x, logits], dim=1))


def space_to_depth(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return `(N, C·Πstrides, *(size/stride))`: the voxels of each block of an image become its channels."""
    if set(strides) == {1}:
        return x
    split = [part for size, stride in zip(x.shape[2:], strides, strict=True) for part in (size // stride, stride)]
    outer, inner = range(2, 2 + len(split), 2), range(3, 3 + len(split), 2)
    blocks = x.reshape(x.shape[0], x.shape[1], *split).permute(0, 1, *inner, *outer)
    return blocks.reshape(x.shape[0], x.shape[1] * math.prod(strides), *split[::2])


def depth_to_space(x: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Return what `space_to_depth` was applied to."""
    if set(strides) == {1}:
        return x
    dims, channels = len(strides), x.shape[1] // math.prod(strides)
    blocks = x.reshape(x.shape[0], channels, *strides, *x.shape[2:])
    order = [axis for spatial in range(dims) for axis in (2 + dims + spatial, 2 + spatial)]
    sizes = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    return blocks.permute(0, 1, *order).reshape(x.shape[0], channels, *sizes)
