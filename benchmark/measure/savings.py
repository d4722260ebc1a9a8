"""What the removal of one filter saves: parameters, FLOPs, or milliseconds."""

from __future__ import annotations

from collections.abc import Callable

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.layer_latency import LayerLatency
from stampbench.models.architecture import Filter
from stampbench.models.model import Architecture, parameter_count
from stampbench.models.pocketnet import PocketNetArchitecture


def filter_savings(
    architecture: Architecture, cost: str, size: tuple[int, ...], latency: LayerLatency | None = None
) -> dict[str, float]:
    """Return what one filter of each prunable layer saves; layers with one filter are left out.

    Args:
        architecture: The network.
        cost: `parameters`, `flops` or `latency`.
        size: Spatial size of an image.
        latency: The table of layers, for the cost `latency`.
    """
    if isinstance(architecture, PocketNetArchitecture):
        return {}
    of: dict[str, Callable[[Architecture], float]] = {
        "parameters": parameter_count,
        "flops": lambda each: count_complexity(each, size).flops,
    }
    if latency is not None:
        of["latency"] = lambda each: latency.milliseconds(each, size)
    measure, layers = of[cost], architecture.layers
    now = measure(architecture)
    return {
        layer: now - measure(architecture.without([Filter(layer, 0)])) for layer, width in layers.items() if width > 1
    }
