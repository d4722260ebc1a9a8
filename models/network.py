"""The `Network` base class: a family of networks as a small model of its hyperparameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import BaseModel
from torch import nn


class Network(BaseModel, ABC, frozen=True, extra="forbid"):
    """Base class of networks: the fields are hyperparameters, and `build` returns the module.

    Fields have types that can be written as JSON and compared: numbers, texts, booleans and tuples of these.

    A module maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`. In training mode it may
    return several logits (deep supervision): a list or tuple whose first element has the size of the images, or a
    tensor `(N, heads, out_channels, *spatial)`. In evaluation mode it returns the first one alone.

    Attributes:
        spatial_dims: Spatial dims that the network exists in.
        planned_fields: Hyperparameters that `planned` sets.
    """

    spatial_dims: ClassVar[tuple[int, ...]] = (2, 3)
    planned_fields: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return a new module, initialised as its authors do.

        Args:
            spatial_dims: 2 or 3.
            in_channels: Channels of the input image.
            out_channels: Output channels, one per class including the background.
        """

    def divisors(self, spatial_dims: int) -> tuple[int, ...] | None:
        """Return, for each spatial axis, the number that image sizes must be a multiple of.

        None, the default: the smallest power of two that the module accepts is found by trying.
        """
        return None

    def planned(self, size: Sequence[int], spacing: Sequence[float]) -> Self:
        """Return the network with the hyperparameters that depend on the dataset; those that a user has set stay.

        Args:
            size: Spatial size of what the network sees in training, in voxels.
            spacing: Edges of a voxel in mm; all 1 if the spacing is unknown.
        """
        return self
