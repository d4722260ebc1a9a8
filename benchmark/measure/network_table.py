"""Table of networks: their size, what of them can be pruned, and what they support."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, without_memory
from stampbench.models.network import Network
from stampbench.models.network_size import of_size
from stampbench.models.registry import DEFAULT, NETWORKS
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture

SIZES = {2: (256, 256), 3: (64, 64, 64)}
"""Image sizes of the table."""

MATCHED = (4, 8, 16, 32)
"""Filters on the first level of the U-Nets whose parameters networks are matched to."""

_HEADER = (
    "network", "source", "parameters 2D", "parameters 3D", "GFLOPs 2D", "GFLOPs 3D", "layers", "filters",
    "normalisation", "deep supervision", "fast kernels", "f in 2D", "f in 3D",
)  # fmt: skip
_NONE = "–"


class _Facts(NamedTuple):
    parameters: str
    gigaflops: str
    layers: str
    filters: str
    normalisation: str
    heads: bool
    fast: bool


def network_table(sources: Iterable[tuple[str, str]]) -> str:
    """Return a markdown table of networks, with one input channel, two classes and their default hyperparameters.

    Args:
        sources: Names and descriptions of networks.
    """
    rows = [_HEADER, ["---"] * len(_HEADER), *(_row(name, source) for name, source in sources)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, source: str) -> list[str]:
    network = None if name == DEFAULT else NETWORKS[name].load()()
    flat, volume = (_facts(name, network, dims) for dims in (2, 3))
    known = flat or volume
    if known is None:
        return [f"`{name}`", source, *[_NONE] * (len(_HEADER) - 2)]
    supervision = "yes" if known.heads else "no"
    if network is not None and "deep_supervision" in type(network).model_fields and not known.heads:
        supervision = "option"
    return [
        f"`{name}`",
        source,
        *(_NONE if each is None else each.parameters for each in (flat, volume)),
        *(_NONE if each is None else each.gigaflops for each in (flat, volume)),
        known.layers,
        known.filters,
        known.normalisation,
        supervision,
        "yes" if known.fast else "no",
        *(_matched(name, network, dims) for dims in (2, 3)),
    ]


def _facts(name: str, network: Network | None, spatial_dims: int) -> _Facts | None:
    """Return what the table says of a network in 2D or 3D; None: it does not exist in these dims."""
    architecture: Architecture
    try:
        if network is None:
            architecture = UNetArchitecture.doubling(spatial_dims, 1, 2)
        else:
            architecture = TracedArchitecture.unpruned(name, network, spatial_dims, 1, 2)
    except ModelError:
        return None
    complexity = count_complexity(architecture, SIZES[spatial_dims])
    layers = architecture.layers
    model = without_memory(architecture).train()
    with torch.no_grad():
        output = model(torch.empty(2, 1, *SIZES[spatial_dims], device="meta"))
    return _Facts(
        f"{complexity.parameters:,}",
        f"{complexity.flops / 1e9:.2f}",
        str(len(layers)),
        f"{sum(layers.values()):,}",
        _normalisation(model),
        isinstance(output, list) and len(output) > 1,
        not isinstance(model, TracedModel) or model.has_fast_kernels,
    )


def _normalisation(model: nn.Module) -> str:
    kinds = {
        "batch": nn.modules.batchnorm._BatchNorm,
        "instance": nn.modules.instancenorm._InstanceNorm,
        "group": nn.GroupNorm,
        "layer": nn.LayerNorm,
    }
    found = [kind for kind, each in kinds.items() if any(isinstance(module, each) for module in model.modules())]
    return ", ".join(found) or "none"


def _matched(name: str, network: Network | None, spatial_dims: int) -> str:
    """Return the `f` of each size in `MATCHED`."""
    if network is None:
        return ", ".join(map(str, MATCHED))
    if "f" not in type(network).model_fields or spatial_dims not in type(network).spatial_dims:
        return _NONE
    found = []
    for size in MATCHED:
        try:
            found.append(str(of_size(name, network, size, spatial_dims, 1, 2).model_dump()["f"]))
        except ModelError:
            found.append(_NONE)
    return ", ".join(found)
