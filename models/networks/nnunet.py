"""nnU-Net's plain network as nnU-Net would configure it for a dataset (Isensee et al. 2021)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Annotated, ClassVar, Self

from monai.networks.blocks.dynunet_block import UnetBasicBlock
from monai.networks.nets import DynUNet
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from stampbench.models.errors import ModelError
from stampbench.models.network import Network
from stampbench.models.nnunet_plan import plan_levels


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a JSON list") from None


_Stride = Annotated[int, Field(ge=1, le=8)]
_Kernel = Annotated[int, Field(ge=1, le=15)]
_Width = Annotated[int, Field(ge=1, le=2**14)]
_Strides = Annotated[tuple[tuple[_Stride, ...], ...], Field(max_length=12), BeforeValidator(_from_json)]
_Kernels = Annotated[tuple[tuple[_Kernel, ...], ...], Field(max_length=12), BeforeValidator(_from_json)]
_Widths = Annotated[tuple[_Width, ...], Field(max_length=12), BeforeValidator(_from_json)]

_NORM = ("INSTANCE", {"affine": True})
_ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class NNUNetReference(Network, frozen=True):
    """DynUNet as nnU-Net plans it from image size and spacing: strides, kernels, filters, deep supervision.

    Without a dataset, it is planned for isotropic images of 64 voxels per axis.
    """

    planned_fields: ClassVar[tuple[str, ...]] = ("strides", "kernels")

    f: int = Field(32, ge=1, le=1024, description="filters on the first level, doubled from level to level")
    most_filters: int | None = Field(
        None, ge=1, le=2**14, description="most filters of a level; null: 320 in 3D, 512 in 2D"
    )
    strides: _Strides = Field((), description="strides of each level and axis as JSON; empty: planned")
    kernels: _Kernels = Field((), description="kernel sizes of each level and axis as JSON; empty: planned")
    filters: _Widths = Field((), description="filters of each level as JSON; empty: doubled from f")
    deep_supervision: bool = Field(True, description="whether levels below the full size are trained on too")

    def widths(self, spatial_dims: int) -> tuple[int, ...]:
        """Return the filters of each level: those that are set, or `f` doubled from level to level."""
        most = self.most_filters or (320 if spatial_dims == 3 else 512)
        return self.filters or tuple(min(self.f * 2**level, most) for level in range(len(self.strides)))

    def planned(self, size: Sequence[int], spacing: Sequence[float]) -> Self:
        """Return the network with strides and kernels; those that are set stay."""
        strides, kernels = plan_levels(size, spacing)
        if self.strides:
            strides, kernels = self.strides, ((3,) * len(size),) * len(self.strides)
        network = self.model_copy(update={"strides": strides, "kernels": self.kernels or kernels})
        network._check(len(size))
        return network

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module."""
        network = self.planned((64,) * spatial_dims, (1.0,) * spatial_dims)
        # nnU-Net trains on every level but the lowest two; the loss of the second lowest has weight 0 there.
        heads = len(network.strides) - 3 if self.deep_supervision else 0
        return _PlainUNet(network, (spatial_dims, in_channels, out_channels), max(heads, 0))

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        """Return the product of the strides of each axis."""
        network = self.planned((64,) * spatial_dims, (1.0,) * spatial_dims)
        return tuple(prod(axis) for axis in zip(*network.strides, strict=True))

    def _check(self, spatial_dims: int) -> None:
        levels = len(self.strides)
        if levels < 3:
            raise ModelError(
                f"network 'nnunet_reference': {levels} levels, because images are halved as long as 4 voxels remain; "
                "at least 3 are needed, so choose larger images"
            )
        for name, values in (("kernels", self.kernels), ("filters", self.widths(spatial_dims))):
            if len(values) != levels:
                raise ModelError(f"network 'nnunet_reference': {name} has {len(values)} levels, strides has {levels}")
        for name in ("strides", "kernels"):
            if wrong := [each for each in getattr(self, name) if len(each) != spatial_dims]:
                raise ModelError(f"network 'nnunet_reference': {name} {wrong[0]} are not {spatial_dims} numbers")
        if even := [each for each in self.kernels if any(edge % 2 == 0 for edge in each)]:
            raise ModelError(f"network 'nnunet_reference': kernels {even[0]} are not odd")


class _PlainUNet(DynUNet):  # type: ignore[misc]
    """DynUNet with nnU-Net's kernels in the decoder, and with logits of the lower levels in their own sizes."""

    def __init__(self, network: NNUNetReference, sizes: tuple[int, int, int], heads: int) -> None:
        strides, kernels, filters = list(network.strides), list(network.kernels), list(network.widths(sizes[0]))
        super().__init__(
            *sizes,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            norm_name=_NORM,
            act_name=_ACTIVATION,
            deep_supervision=heads > 0,
            deep_supr_num=max(heads, 1),
            trans_bias=True,
        )
        for level, block in enumerate(reversed(self.upsamples)):
            width = filters[level]
            block.conv_block = UnetBasicBlock(
                sizes[0], 2 * width, width, kernel_size=kernels[level], stride=1, norm_name=_NORM, act_name=_ACTIVATION
            )
        del self.skip_layers  # further names of the same blocks, which would compute the heads in inference too
        self.apply(self.initialize_weights)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the logits; in training with deep supervision also those of lower levels, in their own sizes."""
        skips = [self.input_block(x)]
        for block in self.downsamples:
            skips.append(block(skips[-1]))
        decoded = [self.bottleneck(skips[-1])]
        for block, skip in zip(self.upsamples, reversed(skips), strict=True):
            decoded.append(block(decoded[-1], skip))
        logits: Tensor = self.output_block(decoded[-1])
        if not (self.training and self.deep_supervision):
            return logits
        lower = reversed(decoded[1:-1])
        return [logits, *(head(each) for head, each in zip(self.deep_supervision_heads, lower, strict=False))]
