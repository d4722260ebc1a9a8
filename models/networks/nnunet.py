"""nnU-Net's plain network as nnU-Net would configure it for a dataset (Isensee et al. 2021)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import prod
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field
from torch import nn

from stampbench.models.errors import ModelError
from stampbench.models.network import Network
from stampbench.models.networks.nnunet_plan import plan_levels


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
        from stampbench.models.networks.plain_unet import PlainUNet  # MONAI takes a second

        network = self.planned((64,) * spatial_dims, (1.0,) * spatial_dims)
        # nnU-Net trains on every level but the lowest two; the loss of the second lowest has weight 0 there.
        heads = len(network.strides) - 3 if self.deep_supervision else 0
        return PlainUNet(
            (spatial_dims, in_channels, out_channels),
            network.strides,
            network.kernels,
            network.widths(spatial_dims),
            max(heads, 0),
        )

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
