"""Networks of a given size: as many parameters as a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from pydantic import ValidationError

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import parameter_count
from stampbench.models.network import Network
from stampbench.models.tracing.traced_architecture import built

_MOST_FILTERS = 1024
_FURTHEST = 1.5


@lru_cache(maxsize=256)
def of_size(
    name: str, network: Network, size: int, spatial_dims: int, in_channels: int, out_channels: int
) -> Network:  # fmt: skip
    """Return a network with the `f` that brings its parameters nearest to those of the doubling U-Net of depth 4.

    Args:
        name: Name of the network, for messages.
        network: The network, which has a hyperparameter `f`; the others keep their values.
        size: Filters on the first level of the U-Net.
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels.

    Raises:
        ModelError: when even the nearest one has over 1.5 times as many parameters as the U-Net, or under 2/3.
    """
    wanted = parameter_count(UNetArchitecture.doubling(spatial_dims, in_channels, out_channels, f=size))
    allowed = [f for f in range(1, _MOST_FILTERS + 1) if _with_f(network, f) is not None]

    def parameters(f: int) -> int:
        found = _with_f(network, f)
        assert found is not None
        with torch.device("meta"):
            module = built(name, found, spatial_dims, in_channels, out_channels)
        return sum(each.numel() for each in module.parameters())

    nearest = _nearest(allowed, wanted, parameters)
    found = _with_f(network, nearest)
    count = parameters(nearest)
    if found is None or not wanted / _FURTHEST <= count <= wanted * _FURTHEST:
        raise ModelError(
            f"network '{name}': size={size} stands for {wanted:,} parameters, and the nearest network has {count:,} "
            f"(f={nearest})"
        )
    return found


def _with_f(network: Network, f: int) -> Network | None:
    """Return the network with another `f`; None if that is not allowed."""
    try:
        return type(network).model_validate(network.model_dump() | {"f": f})
    except ValidationError:
        return None


def _nearest(allowed: list[int], wanted: int, parameters: Callable[[int], int]) -> int:
    """Return the `f` whose number of parameters, which grows with `f`, is nearest in proportion."""
    low, high = 0, len(allowed) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(allowed[middle]) <= wanted else (low, middle)

    def distance(f: int) -> float:
        count = parameters(f)
        return max(count / wanted, wanted / count)

    return min((allowed[low], allowed[high]), key=distance)
