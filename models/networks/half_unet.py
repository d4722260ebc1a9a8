"""Half-UNet (Lu et al. 2022): an encoder of constant width whose levels are added at full resolution."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from stampbench.models.network import Network
from stampbench.models.networks.layers import normalised_conv, upsampled
from stampbench.models.unet import CONV, NORM, POOL


class HalfUNet(Network, frozen=True):
    """Half-UNet (Lu et al. 2022): constant width, Ghost modules, all levels added at full resolution.

    The abstract and implementations by others were read, not the paper: biases, the place of BatchNorm inside a Ghost
    module and the bilinear interpolation are choices. With 64 channels, one class and one input channel there are
    208,097 parameters. The 3D form, with 3D layers, is stampbench's.
    """

    f: int = Field(64, ge=2, le=1024, multiple_of=2, description="channels on every level, an even number")
    depth: int = Field(4, ge=1, le=7, description="number of pooling steps")
    ghost: bool = Field(True, description="Ghost modules (Han et al. 2020) instead of plain convolutions")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return HalfUNetModule(self, spatial_dims, in_channels, out_channels)

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 2^depth."""
        return (2**self.depth,) * spatial_dims


class Ghost(nn.Module):
    """Ghost module (Han et al. 2020, §3.1): half of the channels come from the other half by a depthwise convolution.

    Conv(3, bias) → BatchNorm → ReLU computes the first half; depthwise Conv(3, bias) → ReLU the second.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv, half = CONV[spatial_dims], out_channels // 2
        self.conv = conv(in_channels, half, kernel_size=3, padding=1)
        self.norm = NORM[spatial_dims](half)
        self.cheap = conv(half, half, kernel_size=3, padding=1, groups=half)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(N, in, *spatial)` to `(N, out, *spatial)`."""
        x = torch.relu(self.norm(self.conv(x)))
        return torch.cat([x, torch.relu(self.cheap(x))], dim=1)


class HalfUNetModule(nn.Module):
    """Half-UNet: pooling levels of two units each, their sum at full resolution, two more units, and the head."""

    def __init__(self, network: HalfUNet, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()

        def units(inputs: int) -> nn.Sequential:
            pair = (inputs, network.f), (network.f, network.f)
            if network.ghost:
                return nn.Sequential(*(Ghost(spatial_dims, *each) for each in pair))
            return nn.Sequential(*(normalised_conv(spatial_dims, *each, kernel_size=3) for each in pair))

        self.levels = nn.ModuleList(units(network.f if level else in_channels) for level in range(network.depth + 1))
        self.fused = units(network.f)
        self.pool = POOL[spatial_dims](kernel_size=2)
        self.head = CONV[spatial_dims](network.f, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images."""
        x = total = self.levels[0](x)
        for number, level in enumerate(self.levels[1:], start=1):
            x = level(self.pool(x))
            total = total + upsampled(x, 2**number)
        logits: Tensor = self.head(self.fused(total))
        return logits
