"""Networks of MONAI (Cardoso et al. 2022), with `f` filters on the first level."""

from __future__ import annotations

from typing import Literal

from monai.networks import nets
from pydantic import Field
from torch import nn

from stampbench.models.network import Network

Norm = Literal["instance", "batch", "group"]
"""Normalisation: per image and channel, per channel, or per image over groups of channels, which pins the channels."""


class DynUNet(Network, frozen=True):
    """MONAI's DynUNet, the plain network of nnU-Net (Isensee et al. 2021): InstanceNorm, leaky ReLU, strides."""

    f: int = Field(32, ge=1, le=1024, description="filters on the first level")
    depth: int = Field(4, ge=2, le=7, description="number of steps that halve the size")
    most_filters: int = Field(512, ge=1, le=2**14, description="most filters of a level")
    residual: bool = Field(False, description="residual blocks")
    deep_supervision: int = Field(0, ge=0, le=6, description="levels below the full size that are trained on too")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        levels = self.depth + 1
        filters = [min(self.f * 2**level, self.most_filters) for level in range(levels)]
        strides = [1] + [2] * self.depth
        return nets.DynUNet(  # type: ignore[no-any-return]
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size=[3] * levels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            res_block=self.residual,
            deep_supervision=self.deep_supervision > 0,
            deep_supr_num=max(self.deep_supervision, 1),
        )


class BasicUNet(Network, frozen=True):
    """MONAI's BasicUNet (Falk et al. 2019): two convolutions a level, InstanceNorm, leaky ReLU; depth 4."""

    f: int = Field(32, ge=1, le=1024, description="filters on the first level")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        f = self.f
        features = (f, f, 2 * f, 4 * f, 8 * f, f)
        return nets.BasicUNet(spatial_dims, in_channels, out_channels, features)  # type: ignore[no-any-return]

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 16: other sizes are padded, which dynamic exports cannot follow."""
        return (16,) * spatial_dims


class ResidualUNet(Network, frozen=True):
    """MONAI's UNet with residual units (Kerfoot et al. 2018): InstanceNorm, PReLU, strided convolutions."""

    f: int = Field(16, ge=1, le=1024, description="filters on the first level")
    depth: int = Field(4, ge=1, le=7, description="number of steps that halve the size")
    residual_units: int = Field(2, ge=0, le=8, description="convolutions of a residual unit; 0: plain convolutions")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        channels = [self.f * 2**level for level in range(self.depth + 1)]
        return nets.UNet(  # type: ignore[no-any-return]
            spatial_dims, in_channels, out_channels, channels, [2] * self.depth, num_res_units=self.residual_units
        )


class AttentionUNet(Network, frozen=True):
    """MONAI's AttentionUnet (Oktay et al. 2018): gates on the skip connections, BatchNorm, ReLU."""

    f: int = Field(16, ge=2, le=1024, description="filters on the first level")
    depth: int = Field(4, ge=1, le=7, description="number of steps that halve the size")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        channels = [self.f * 2**level for level in range(self.depth + 1)]
        return nets.AttentionUnet(  # type: ignore[no-any-return]
            spatial_dims, in_channels, out_channels, channels, [2] * self.depth
        )


class SegResNet(Network, frozen=True):
    """MONAI's SegResNet (Myronenko 2018): residual blocks that begin with normalisation."""

    f: int = Field(8, ge=1, le=1024, description="filters on the first level")
    norm: Norm = Field("instance", description="normalisation; with group, most layers cannot lose filters")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        norm = ("GROUP", {"num_groups": min(8, self.f)}) if self.norm == "group" else (self.norm, {"affine": True})
        return nets.SegResNet(spatial_dims, self.f, in_channels, out_channels, norm=norm)  # type: ignore[no-any-return]


class FlexibleUNet(Network, frozen=True):
    """MONAI's FlexibleUNet with an EfficientNet encoder (Tan and Le 2019), not pretrained."""

    backbone: str = Field("efficientnet-b0", pattern="^efficientnet-b[0-8]$", description="encoder")
    f: int = Field(16, ge=1, le=1024, description="filters of the decoder's last level")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return nets.FlexibleUNet(  # type: ignore[no-any-return]
            in_channels,
            out_channels,
            self.backbone,
            decoder_channels=[self.f * 2**level for level in reversed(range(5))],
            spatial_dims=spatial_dims,
        )

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 32: five steps halve the size."""
        return (32,) * spatial_dims


class MedNeXt(Network, frozen=True):
    """MONAI's MedNeXt (Roy et al. 2023) in its small form, S: depthwise convolutions, expansion by 2."""

    f: int = Field(32, ge=1, le=1024, description="filters on the first level")
    kernel_size: Literal[3, 5] = Field(3, description="size of the depthwise kernels")
    deep_supervision: bool = Field(False, description="whether all levels are trained on")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        return nets.MedNeXt(  # type: ignore[no-any-return]
            spatial_dims,
            self.f,
            in_channels,
            out_channels,
            kernel_size=self.kernel_size,
            deep_supervision=self.deep_supervision,
            use_residual_connection=True,
        )

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return 16: four steps halve the size."""
        return (16,) * spatial_dims
