"""The U-Net architecture as plain data: the filter count of every convolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, model_validator

from stampbench.models.errors import ModelError

Depth = Annotated[int, Field(ge=1, le=7)]
"""Number of pooling steps; with 7, image sizes are multiples of 128."""
Width = Annotated[int, Field(ge=1, le=2**17)]
"""Filters of a convolution; at most 1024 on the first level, doubled at each of 7 pooling steps."""
Channels = Annotated[int, Field(ge=1, le=1024)]
"""Channels of the input image."""
Classes = Annotated[int, Field(ge=1, le=256)]
"""Output channels, one per class including the background; label maps are stored as bytes."""
_MOST_CONVS = 16 * 15
"""Most convolutions: 16 on each level at depth 7."""


class Filter(NamedTuple):
    """One output channel of a prunable convolution.

    `layer` is a name such as `conv3` (l = 3 in the paper) or `up1`. `channel` is the index among the channels
    that the layer has at the moment. `score` is the importance that the ranking gave to the filter, or NaN
    when nothing was ranked.
    """

    layer: str
    channel: int
    score: float = float("nan")


def widths_without(layers: Mapping[str, int], filters: Iterable[Filter]) -> dict[str, int]:
    """Return the filter count of each prunable layer after the removal of `filters`.

    Raises:
        ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would lose all
            its filters.
    """
    removed: dict[str, set[int]] = {}
    for layer, index, *_ in filters:
        if layer not in layers:
            raise ModelError(f"layer '{layer}': not a prunable layer; prunable layers are {', '.join(layers)}")
        if not 0 <= index < layers[layer]:
            raise ModelError(
                f"layer '{layer}': filter {index} does not exist; valid filters are 0 to {layers[layer] - 1}"
            )
        if index in removed.setdefault(layer, set()):
            raise ModelError(f"layer '{layer}': filter {index} is listed twice; list each filter once")
        removed[layer].add(index)
    remaining = {layer: width - len(removed.get(layer, ())) for layer, width in layers.items()}
    for layer, width in remaining.items():
        if width < 1:
            raise ModelError(f"layer '{layer}': all filters would be removed; keep at least one")
    return remaining


class UNetArchitecture(BaseModel, frozen=True, extra="forbid"):
    """A U-Net with the same number of convolutions on every level (Dinsdale et al. 2022, Fig. 3).

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels, one per class including the background.
        depth: Number of pooling steps.
        convs: Filters of each convolution of kernel size 3 in forward order, l = 1, 2, …. The last one feeds
            the head, a convolution of kernel size 1, and cannot be pruned (§2.4).
        upconvs: Output channels of each transposed convolution, deepest first.
        prune_upconvs: Whether the transposed convolutions can be pruned too; in the paper they cannot.
    """

    family: Literal["unet"] = "unet"
    spatial_dims: Literal[2, 3]
    in_channels: Channels
    out_channels: Classes
    depth: Depth
    convs: Annotated[tuple[Width, ...], Field(max_length=_MOST_CONVS)]
    upconvs: tuple[Width, ...]
    prune_upconvs: bool = False

    @classmethod
    def doubling(
        cls, spatial_dims: int, in_channels: int, out_channels: int, *,
        f: int = 4, depth: int = 4, convs_per_level: int = 2, prune_upconvs: bool = False,
    ) -> Self:  # fmt: skip
        """Return the architecture with f·2^i filters on level i, from which the paper starts.

        Args:
            spatial_dims: 2 or 3.
            in_channels: Channels of the input image.
            out_channels: Output channels, one per class including the background.
            f: Filters on the first level.
            depth: Number of pooling steps.
            convs_per_level: Convolutions on every level.
            prune_upconvs: Whether the transposed convolutions can be pruned too.
        """
        widths = [f * 2**level for level in range(depth + 1)]
        return cls._from_levels(spatial_dims, in_channels, out_channels, widths, convs_per_level, prune_upconvs)

    @classmethod
    def flat(
        cls, spatial_dims: int, in_channels: int, out_channels: int, *,
        f: int = 4, depth: int = 4, convs_per_level: int = 2, prune_upconvs: bool = False,
    ) -> Self:  # fmt: skip
        """Return the architecture with f filters on every level, as in the Lean U-Net (Hassler et al. 2026).

        Args:
            spatial_dims: 2 or 3.
            in_channels: Channels of the input image.
            out_channels: Output channels, one per class including the background.
            f: Filters on every level.
            depth: Number of pooling steps.
            convs_per_level: Convolutions on every level.
            prune_upconvs: Whether the transposed convolutions can be pruned too.
        """
        widths = [f] * (depth + 1)
        return cls._from_levels(spatial_dims, in_channels, out_channels, widths, convs_per_level, prune_upconvs)

    @classmethod
    def _from_levels(
        cls, spatial_dims: int, in_channels: int, out_channels: int,
        widths: list[int], convs_per_level: int, prune_upconvs: bool,
    ) -> Self:  # fmt: skip
        down_and_up = widths + widths[-2::-1]
        return cls(
            spatial_dims=spatial_dims,  # type: ignore[arg-type]
            in_channels=in_channels,
            out_channels=out_channels,
            depth=len(widths) - 1,
            convs=tuple(width for width in down_and_up for _ in range(convs_per_level)),
            upconvs=tuple(widths[-2::-1]),
            prune_upconvs=prune_upconvs,
        )

    @model_validator(mode="after")
    def _levels_are_complete(self) -> Self:
        if len(self.upconvs) != self.depth:
            raise ValueError(f"upconvs: depth {self.depth} needs {self.depth} entries, got {len(self.upconvs)}")
        if not self.convs or len(self.convs) % self.levels:
            raise ValueError(f"convs: {len(self.convs)} entries cannot be divided evenly among {self.levels} levels")
        return self

    @property
    def levels(self) -> int:
        """Number of levels: encoder levels, the bottleneck and decoder levels."""
        return 2 * self.depth + 1

    @property
    def convs_per_level(self) -> int:
        """Number of convolutions on every level."""
        return len(self.convs) // self.levels

    @property
    def divisors(self) -> tuple[int, ...]:
        """For each spatial axis, the number that the input size must be a multiple of."""
        return (2**self.depth,) * self.spatial_dims

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each convolution in forward order."""
        return self.convs

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels of each convolution; the first one of a decoder level sees upsampled and skip channels."""
        inputs = [self.in_channels, *self.convs[:-1]]
        for step, upsampled in enumerate(self.upconvs):
            skip = self.convs[(self.depth - step) * self.convs_per_level - 1]
            inputs[(self.depth + 1 + step) * self.convs_per_level] = upsampled + skip
        return tuple(inputs)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters of the module that `build` makes of it: planning counts thousands of them."""
        units = sum(
            (3**self.spatial_dims * inputs + 3) * width for inputs, width in zip(self.inputs, self.convs, strict=True)
        )
        upsampled = self.convs[(self.depth + 1) * self.convs_per_level - 1 : -1 : self.convs_per_level]
        upconvs = sum(
            (2**self.spatial_dims * inputs + 1) * width for inputs, width in zip(upsampled, self.upconvs, strict=True)
        )
        return units + upconvs + (self.convs[-1] + 1) * self.out_channels

    @property
    def layers(self) -> Mapping[str, int]:
        """Filter count of each prunable layer, in the paper's order."""
        layers = {f"conv{position}": width for position, width in enumerate(self.convs[:-1], start=1)}
        if self.prune_upconvs:
            layers |= {f"up{position}": width for position, width in enumerate(self.upconvs, start=1)}
        return layers

    def prunable(self, min_filters: int = 1) -> bool:
        """Return whether any layer has more than `min_filters` filters."""
        return any(width > min_filters for width in self.layers.values())

    def without(self, filters: Iterable[Filter]) -> Self:
        """Return the architecture after the removal of `filters`.

        Raises:
            ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would
                lose all its filters.
        """
        remaining = widths_without(self.layers, filters)
        convs = [remaining.get(f"conv{position}", width) for position, width in enumerate(self.convs, start=1)]
        upconvs = [remaining.get(f"up{position}", width) for position, width in enumerate(self.upconvs, start=1)]
        return self.model_copy(update={"convs": tuple(convs), "upconvs": tuple(upconvs)})
