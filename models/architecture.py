"""A network as plain data: the filter count of every convolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, Field, PositiveInt, model_validator

from stampbench.models.errors import ModelError


class Filter(NamedTuple):
    """One output channel of a prunable convolution.

    `layer` is a name such as `conv3` (the paper's l = 3) or `up1`; `channel` counts the channels
    that the layer has now; `score` is what the selection gave it, NaN where nothing was ranked.
    """

    layer: str
    channel: int
    score: float = float("nan")


class UNetArchitecture(BaseModel, frozen=True, extra="forbid"):
    """A U-Net: `depth` poolings, the same number of convolutions on every level (Dinsdale et al. 2022, Fig. 3).

    `convs` are the filters of the 3-convolutions in forward order, l = 1, 2, …; `upconvs` the outputs
    of the transposed convolutions, deepest first. The last convolution feeds the 1-convolution of the
    head and cannot be pruned (§2.4). `prune_upconvs` makes the transposed convolutions prunable too,
    which the paper does not.
    """

    family: Literal["unet"] = "unet"
    spatial_dims: Literal[2, 3]
    in_channels: PositiveInt
    out_channels: PositiveInt
    depth: PositiveInt
    convs: tuple[Annotated[int, Field(ge=1)], ...]
    upconvs: tuple[Annotated[int, Field(ge=1)], ...]
    prune_upconvs: bool = False

    @classmethod
    def doubling(
        cls, spatial_dims: int, in_channels: int, out_channels: int, *,
        f: int = 4, depth: int = 4, convs_per_level: int = 2, prune_upconvs: bool = False,
    ) -> Self:  # fmt: skip
        """f·2^i filters on level i, the paper's starting point."""
        widths = [f * 2**level for level in range(depth + 1)]
        return cls._from_levels(spatial_dims, in_channels, out_channels, widths, convs_per_level, prune_upconvs)

    @classmethod
    def flat(
        cls, spatial_dims: int, in_channels: int, out_channels: int, *,
        f: int = 4, depth: int = 4, convs_per_level: int = 2, prune_upconvs: bool = False,
    ) -> Self:  # fmt: skip
        """The same f on every level, bottleneck included (Hassler's Flat or Lean U-Net)."""
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
            raise ValueError(f"depth {self.depth} needs {self.depth} upconvs, not {len(self.upconvs)}")
        if not self.convs or len(self.convs) % self.levels:
            raise ValueError(f"{len(self.convs)} convs do not fill {self.levels} levels evenly")
        return self

    @property
    def levels(self) -> int:
        """Groups of convolutions: encoder levels, bottleneck, decoder levels."""
        return 2 * self.depth + 1

    @property
    def convs_per_level(self) -> int:
        return len(self.convs) // self.levels

    @property
    def divisors(self) -> tuple[int, ...]:
        """What the size of each axis must be a multiple of."""
        return (2**self.depth,) * self.spatial_dims

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each convolution."""
        return self.convs

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels of each convolution: in a decoder level's first one, the upsampled ones and the skip's."""
        inputs = [self.in_channels, *self.convs[:-1]]
        for step, upsampled in enumerate(self.upconvs):
            skip = self.convs[(self.depth - step) * self.convs_per_level - 1]
            inputs[(self.depth + 1 + step) * self.convs_per_level] = upsampled + skip
        return tuple(inputs)

    @property
    def layers(self) -> Mapping[str, int]:
        """The prunable layers in the paper's order, with their filter counts."""
        layers = {f"conv{position}": width for position, width in enumerate(self.convs[:-1], start=1)}
        if self.prune_upconvs:
            layers |= {f"up{position}": width for position, width in enumerate(self.upconvs, start=1)}
        return layers

    def prunable(self, min_filters: int = 1) -> bool:
        """Whether a filter can go without leaving fewer than `min_filters` in its layer."""
        return any(width > min_filters for width in self.layers.values())

    def without(self, filters: Iterable[Filter]) -> Self:
        """The architecture after these filters are gone.

        Raises:
            ModelError: an unknown layer, an index out of range or named twice, or a layer left empty.
        """
        gone: dict[str, set[int]] = {}
        for layer, index, *_ in filters:
            if layer not in self.layers:
                raise ModelError(f"no prunable layer '{layer}'; there are {', '.join(self.layers)}")
            if not 0 <= index < self.layers[layer]:
                raise ModelError(f"{layer} has filters 0 to {self.layers[layer] - 1}, not {index}")
            if index in gone.setdefault(layer, set()):
                raise ModelError(f"filter {index} of {layer} is named twice")
            gone[layer].add(index)
        left = {layer: width - len(gone.get(layer, ())) for layer, width in self.layers.items()}
        for layer, width in left.items():
            if width < 1:
                raise ModelError(f"{layer} would have no filter left")
        convs = [left.get(f"conv{position}", width) for position, width in enumerate(self.convs, start=1)]
        upconvs = [left.get(f"up{position}", width) for position, width in enumerate(self.upconvs, start=1)]
        return self.model_copy(update={"convs": tuple(convs), "upconvs": tuple(upconvs)})
