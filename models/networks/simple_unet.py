"""SimpleUNet (Yu et al. 2025): constant width, narrow skip connections, learned weights of skip and upsampling."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from stampbench.models.network import Network
from stampbench.models.networks.layers import normalised_conv, upsampled
from stampbench.models.unet import CONV, POOL


class SimpleUNet(Network, frozen=True):
    """SimpleUNet (Yu et al. 2025, arXiv 2506.13415): constant width, skip connections of half the width.

    The abstract and the authors' code were read, not the paper. With 16 channels, three input channels, two classes
    and `rectified_head` there are the published 16,244 parameters and the 64 factors that weight skip connections and
    upsampled channels. The 3D form, with 3D layers and trilinear interpolation, is stampbench's.
    """

    f: int = Field(32, ge=2, le=1024, multiple_of=2, description="channels of the encoder, an even number")
    depth: int = Field(4, ge=1, le=7, description="number of pooling steps")
    blocks: int = Field(1, ge=1, le=16, description="convolutions on every level")
    rectified_head: bool = Field(
        False, description="BatchNorm and ReLU after the head, as in the authors' code: no logit is negative"
    )

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return SimpleUNetModule(self, spatial_dims, in_channels, out_channels)

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 2^depth."""
        return (2**self.depth,) * spatial_dims


class ChannelScale(nn.Module):
    """Learned factors, one per channel, which begin with 1."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, channels, *spatial)` to the same shape."""
        return x * self.weight


class SimpleUNetModule(nn.Module):
    """SimpleUNet: units Conv(3) → BatchNorm → ReLU; the decoder has half of the encoder's channels."""

    def __init__(self, network: SimpleUNet, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        f, half, depth = network.f, network.f // 2, network.depth

        def units(inputs: int, outputs: int, number: int = network.blocks) -> nn.Sequential:
            pairs = [(outputs if index else inputs, outputs) for index in range(number)]
            return nn.Sequential(*(normalised_conv(spatial_dims, *each, kernel_size=3) for each in pairs))

        def scales() -> nn.ModuleList:
            return nn.ModuleList(ChannelScale(spatial_dims, half) for _ in range(depth))

        self.encoder = nn.ModuleList([units(in_channels, f, 1), *(units(f, f) for _ in range(depth))])
        self.skips = nn.ModuleList(normalised_conv(spatial_dims, f, half, kernel_size=1) for _ in range(depth))
        self.bottleneck = units(f, half)
        self.decoder = nn.ModuleList(units(2 * half, half) for _ in range(depth))
        self.skip_scales, self.up_scales = scales(), scales()
        self.pool = POOL[spatial_dims](kernel_size=2)
        self.head: nn.Module = CONV[spatial_dims](half, out_channels, kernel_size=1)
        if network.rectified_head:
            self.head = normalised_conv(spatial_dims, half, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        outputs: list[Tensor] = []
        for level in self.encoder:
            x = level(self.pool(x) if outputs else x)
            outputs.append(x)
        skips = [narrow(output) for narrow, output in zip(self.skips, outputs[:-1], strict=True)]
        x = self.bottleneck(x)
        for units, skip_scale, up_scale in zip(self.decoder, self.skip_scales, self.up_scales, strict=True):
            x = upsampled(up_scale(x), 2, align_corners=True)
            x = units(torch.cat([skip_scale(skips.pop()), x], dim=1))
        logits: Tensor = self.head(x)
        return logits
