"""TinyU-Net (Chen et al. 2024): a U-Net of cascaded depthwise convolutions."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from stampbench.models.network import Network
from stampbench.models.networks.layers import upsampled
from stampbench.models.unet import CONV, NORM, POOL

_PARTS = 8
"""N, the paper's number of parts that a block's channels come in (Table 4: the best one)."""


class TinyUNet(Network, frozen=True):
    """TinyU-Net (Chen et al. 2024, MICCAI): levels of one block of cascaded depthwise convolutions (CMRF).

    With 64 channels, three input channels and two classes there are 481,170 parameters (Table 1: 0.48 M). The 3D form,
    with 3D layers and trilinear instead of bicubic interpolation, is stampbench's.
    """

    f: int = Field(64, ge=16, le=1024, multiple_of=16, description="channels on the first level, a multiple of 16")
    depth: int = Field(4, ge=1, le=7, description="number of pooling steps")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return TinyUNetModule(self, spatial_dims, in_channels, out_channels)

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 2^depth."""
        return (2**self.depth,) * spatial_dims


class Unit(nn.Sequential):
    """Conv (no bias) → BatchNorm → GELU; without `activation`, the last is left out."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        depthwise: bool = False,
        activation: bool = True,
    ) -> None:
        """Create the unit.

        Args:
            spatial_dims: 2 or 3.
            in_channels: Input channels.
            out_channels: Output channels.
            depthwise: Whether the convolution has kernels of size 3, one per channel, instead of size 1.
            activation: Whether GELU follows.
        """
        size, groups = (3, in_channels) if depthwise else (1, 1)
        conv = CONV[spatial_dims](in_channels, out_channels, size, padding=size // 2, groups=groups, bias=False)
        layers = [conv, NORM[spatial_dims](out_channels, eps=1e-3, momentum=0.03)]
        super().__init__(*layers, *([nn.GELU()] if activation else []))


class CascadedBlock(nn.Module):
    """CMRF, the cascade multi-receptive fields block (§2.2).

    The paper computes channels by one pointwise unit and takes those with odd and with even numbers apart. Two units
    of half the width compute the same, and channels that belong together keep one order.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = out_channels // (2 * _PARTS)
        self.odd, self.even = (Unit(spatial_dims, in_channels, width) for _ in range(2))
        self.cascade = nn.ModuleList(
            Unit(spatial_dims, width, width, depthwise=True, activation=False) for _ in range(_PARTS - 1)
        )
        self.last = Unit(spatial_dims, _PARTS * width, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in, *spatial)` to `(N, out, *spatial)`."""
        odd, x = self.odd(x), self.even(x)
        parts = [odd + x]
        for unit in self.cascade:
            x = unit(x)
            parts.append(x)
        output: Tensor = self.last(torch.cat(parts, dim=1))
        return output


class TinyUNetModule(nn.Module):
    """TinyU-Net: a block on every encoder and decoder level, and none below the last pooling."""

    def __init__(self, network: TinyUNet, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [network.f * 2**level for level in range(network.depth)]
        self.encoder = nn.ModuleList(CascadedBlock(spatial_dims, *each) for each in pairwise([in_channels, *widths]))
        self.decoder = nn.ModuleList(
            CascadedBlock(spatial_dims, below + width, width)
            for width, below in zip(reversed(widths), [widths[-1], *reversed(widths[1:])], strict=True)
        )
        self.pool = POOL[spatial_dims](kernel_size=2)
        self.head = CONV[spatial_dims](network.f, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        skips: list[Tensor] = []
        for block in self.encoder:
            skips.append(block(x))
            x = self.pool(skips[-1])
        for block in self.decoder:
            x = block(torch.cat([_doubled(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _doubled(x: Tensor) -> Tensor:
    if x.ndim == 5:
        return upsampled(x, 2)
    return nn.functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
