"""Distances between the feature maps of a layer (Valverde and Tohka 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

from stampbench.models.pooling import mean_pool

_EPSILON = 1e-6
"""Smallest range of a map that is scaled, and smallest distance, at which gradients stay finite."""


def mean_distance_to_first(maps: Tensor) -> Tensor:
    """Return the mean of δ_opt: the distance of every map of a layer to the first one, both scaled to 0 … 1.

    Adding it to the loss draws the maps together, so that some of them become redundant. Maps are scaled by their
    minimum and maximum in each image. A layer with one map has distance 0.

    Args:
        maps: Output of a layer, `(N, C, *spatial)`.
    """
    if maps.shape[1] == 1:
        return maps.new_zeros(())
    space = tuple(range(2, maps.ndim))
    low, high = maps.amin(space, keepdim=True), maps.amax(space, keepdim=True)
    ranges = torch.where(high - low > _EPSILON, high - low, torch.ones_like(low))
    pooled = _pooled((maps - low) / ranges)
    return _root_mean_square(pooled[:, 1:] - pooled[:, :1]).mean()


def relative_distances(maps: Tensor, reference: int) -> Tensor:
    """Return δ_prune `(N, C)`: the distance of every map to one of them, relative to the largest of the image.

    The reference has distance 0. All distances of an image whose maps are equal are 0.

    Args:
        maps: Output of a layer, `(N, C, *spatial)`.
        reference: Number of the map that the others are compared with.
    """
    pooled = _pooled(maps)
    distances = _root_mean_square(pooled - pooled[:, reference : reference + 1], smallest=0.0)
    largest = distances.amax(1, keepdim=True)
    return distances / torch.where(largest > 0, largest, torch.ones_like(largest))


def _pooled(maps: Tensor) -> Tensor:
    """Return means over windows of 2 voxels along each axis; an axis of one voxel stays."""
    window = [min(2, size) for size in maps.shape[2:]]
    return mean_pool(maps, window)


def _root_mean_square(x: Tensor, smallest: float = _EPSILON) -> Tensor:
    return x.square().flatten(2).mean(2).clamp_min(smallest**2).sqrt()
