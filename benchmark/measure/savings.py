"""What the removal of one filter saves: parameters, FLOPs, or milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.layer_latency import LayerLatency
from stampbench.models.architecture import Filter
from stampbench.models.model import Architecture, parameter_count
from stampbench.models.pocketnet import PocketNetArchitecture


class FilterSavings:
    """What filters of a network save; the table of layer latency is measured when it is first needed.

    Args:
        size: Spatial size of an image.
        device: Where latency is measured.
        table: A table that was saved.

    Attributes:
        latency: The table; None before it is needed.
    """

    def __init__(self, size: tuple[int, ...], device: torch.device, table: Sequence[Sequence[Any]] | None = None):
        self.latency = None if table is None else LayerLatency.restored(table)
        self._size, self._device = size, device

    def saved(self) -> list[tuple[Any, ...]] | None:
        """Return the table as plain data; None before it is needed."""
        return None if self.latency is None else self.latency.saved()

    def of(self, architecture: Architecture, cost: str) -> dict[str, float]:
        """Return what one filter of each prunable layer saves; layers with one filter are left out.

        Args:
            architecture: The network.
            cost: `parameters`, `flops` of one image, or `latency`, its milliseconds.

        Raises:
            ValueError: when the cost is another word.
        """
        if isinstance(architecture, PocketNetArchitecture):
            return {}
        measure, layers = self._measure(architecture, cost), architecture.layers
        now = measure(architecture)
        return {
            layer: now - measure(architecture.without([Filter(layer, 0)]))
            for layer, width in layers.items()
            if width > 1
        }

    def _measure(self, architecture: Architecture, cost: str) -> Callable[[Architecture], float]:
        size = self._size
        if cost not in ("parameters", "flops", "latency"):
            raise ValueError(f"unknown cost '{cost}'; known: parameters, flops, latency")
        if cost == "parameters":
            return parameter_count
        if cost == "flops":
            return lambda each: count_complexity(each, size).flops
        table = self.latency
        if table is None or not table.covers(architecture, size):  # a strategy may go on with another network
            self.latency = table = LayerLatency.measured(architecture, size, self._device)
        return lambda each: table.milliseconds(each, size)
