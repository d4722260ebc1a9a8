"""Regularisers: terms of the training loss that depend on the outputs of prunable layers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from stampbench.strategies.channel_distance import mean_distance_to_first

REGULARISERS: dict[str, Callable[[Tensor], Tensor]] = {"channel_distance": mean_distance_to_first}
"""Functions from the output of a layer, `(N, C, *spatial)`, to a number."""
