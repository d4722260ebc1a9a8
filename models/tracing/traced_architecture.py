"""The architecture of a registered network as plain data, and what tracing its module finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, Field, SerializeAsAny, model_validator
from torch import nn

from stampbench.models.architecture import Channels, Classes, Filter, Width, widths_without
from stampbench.models.errors import ModelError
from stampbench.models.network import Network
from stampbench.models.registry import NETWORKS
from stampbench.models.tracing.channels import NetworkChannels, find_channels

_MOST_LAYERS = 4096
_SIZES = {1: 65, 2: 66, 4: 68, 8: 72, 16: 80, 32: 96, 64: 192, 128: 384}
"""For each divisor that is tried, an odd multiple of it."""


class TracedArchitecture(BaseModel, frozen=True, extra="forbid"):
    """A network of the registry: its hyperparameters, and how many filters each prunable layer has.

    Which layers are prunable is found by following the channels through the module (see
    `stampbench.models.tracing.channels`). The module is built from the registered class alone: reading an architecture
    imports no code that is not registered.

    Attributes:
        name: Registered name of the network.
        network: Its hyperparameters.
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels, one per class including the background.
        filters: Filters of each prunable layer, in the order of the forward pass.
    """

    family: Literal["traced"] = "traced"
    name: str
    network: SerializeAsAny[Network]
    spatial_dims: Literal[2, 3]
    in_channels: Channels
    out_channels: Classes
    filters: Annotated[tuple[Width, ...], Field(max_length=_MOST_LAYERS)]

    @classmethod
    def unpruned(cls, name: str, network: Network, spatial_dims: int, in_channels: int, out_channels: int) -> Self:
        """Return the architecture of a network with all its filters.

        Args:
            name: Registered name of the network.
            network: Its hyperparameters.
            spatial_dims: 2 or 3.
            in_channels: Channels of the input image.
            out_channels: Output channels, one per class including the background.

        Raises:
            ModelError: when the network does not exist in these dims, cannot be built, or does not return logits.
        """
        channels = traced(name, network, spatial_dims, in_channels, out_channels)[0]
        return cls(
            name=name,
            network=network,
            spatial_dims=spatial_dims,  # type: ignore[arg-type]
            in_channels=in_channels,
            out_channels=out_channels,
            filters=tuple(channels.layers.values()),
        )

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, values: Any) -> Any:
        """Replace hyperparameters that were read from JSON by the network that they describe."""
        if not isinstance(values, dict) or not isinstance(values.get("network"), dict):
            return values
        name = values.get("name")
        if name not in NETWORKS:
            raise ValueError(f"network '{name}' is not registered; install its package or load its file")
        try:
            return values | {"network": NETWORKS[name].load().model_validate(values["network"])}
        except ModelError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _filters_fit(self) -> Self:
        layers = self.channels.layers
        if len(self.filters) != len(layers):
            raise ValueError(
                f"filters: network '{self.name}' has {len(layers)} prunable layers, not {len(self.filters)}"
            )
        for found, (layer, most) in zip(self.filters, layers.items(), strict=True):
            if found > most:
                raise ValueError(f"filters: layer '{layer}' has at most {most} filters, not {found}")
        return self

    @property
    def channels(self) -> NetworkChannels:
        """Where the filters of the unpruned network are."""
        return self._traced[0]

    @property
    def divisors(self) -> tuple[int, ...]:
        """For each spatial axis, the number that the input size must be a multiple of."""
        return self._traced[1]

    @property
    def _traced(self) -> tuple[NetworkChannels, tuple[int, ...]]:
        return traced(self.name, self.network, self.spatial_dims, self.in_channels, self.out_channels)

    @property
    def widths(self) -> tuple[int, ...]:
        """Filters of each prunable layer; of a network without such layers, its output channels."""
        return self.filters or (self.out_channels,)

    @property
    def layers(self) -> Mapping[str, int]:
        """Filter count of each prunable layer, in the order of the forward pass."""
        return dict(zip(self.channels.layers, self.filters, strict=True))

    def prunable(self, min_filters: int = 1) -> bool:
        """Return whether any layer has more than `min_filters` filters."""
        return any(width > min_filters for width in self.filters)

    def without(self, filters: Iterable[Filter]) -> Self:
        """Return the architecture after the removal of `filters`.

        Raises:
            ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would
                lose all its filters.
        """
        return self.model_copy(update={"filters": tuple(widths_without(self.layers, filters).values())})


@lru_cache(maxsize=256)
def traced(
    name: str, network: Network, spatial_dims: int, in_channels: int, out_channels: int
) -> tuple[NetworkChannels, tuple[int, ...]]:
    """Return where the filters of a network are, and what its image sizes must be multiples of.

    Args:
        name: Name of the network, for messages.
        network: Its hyperparameters.
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels.

    Raises:
        ModelError: when the network does not exist in these dims, cannot be built, or does not return logits.
    """
    if spatial_dims not in type(network).spatial_dims:
        known = " and ".join(f"{each}D" for each in type(network).spatial_dims)
        raise ModelError(f"network '{name}': exists in {known} only, not in {spatial_dims}D")
    with torch.device("meta"):
        module = built(name, network, spatial_dims, in_channels, out_channels)
        given = network.divisors(spatial_dims)
        divisors = given or _tried(name, module, spatial_dims, in_channels, out_channels)
        image = torch.empty(2, in_channels, *(_SIZES.get(each, 3 * each) for each in divisors))
    try:
        return find_channels(module, image), divisors
    except ModelError as error:
        raise ModelError(f"network '{name}': {error}") from error


def built(name: str, network: Network, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """Return a new module of a network.

    Args:
        name: Name of the network, for messages.
        network: Its hyperparameters.
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels.

    Raises:
        ModelError: when the network cannot be built.
    """
    try:
        module = network.build(spatial_dims, in_channels, out_channels)
    except ModelError:
        raise
    except Exception as error:  # a network of somebody else may fail in any way
        raise ModelError(f"network '{name}': cannot be built ({' '.join(str(error).split())[:300]})") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"network '{name}': build returned {type(module).__name__}, not a PyTorch module")
    return module


def _tried(name: str, module: nn.Module, spatial_dims: int, in_channels: int, out_channels: int) -> tuple[int, ...]:
    """Return the smallest power of two whose multiples the module maps to logits of the same size."""
    reason = ""
    training = module.training
    module.eval()
    for divisor, size in _SIZES.items():
        sizes = (size,) * spatial_dims
        try:
            with torch.no_grad():
                output = module(torch.empty(1, in_channels, *sizes))
            if output.shape == (1, out_channels, *sizes):
                module.train(training)
                return (divisor,) * spatial_dims
            reason = f"images of size {sizes} become an output of shape {tuple(output.shape)}"
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
    raise ModelError(
        f"network '{name}': returns no logits (1, {out_channels}, …) of the image's size for sizes up to {size}: "
        f"{reason}"
    )
