"""Filter selections: functions that choose the filters to prune next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import Architecture
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.strategies.base import Trainer
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.importance import IMPORTANCES
from stampbench.strategies.ranking import Ranking

LargestBy = Literal["channels", "parameters", "block"]
"""How the size of a layer is measured: by its filters, by its weights, or by the filters of its level."""


CostName = Literal["none", "parameters", "flops", "latency"]
"""What a filter's importance is divided by: nothing, or what its removal saves."""


class Settings(Protocol):
    """The hyperparameters of a pruning strategy that a selection may use."""

    @property
    def filters_per_step(self) -> int:
        """Number of filters to remove."""

    @property
    def min_filters(self) -> int:
        """Number of filters that must remain in every layer."""

    @property
    def importance(self) -> str:
        """Name in `IMPORTANCES`."""

    @property
    def cost(self) -> CostName:
        """What `lowest` weighs the importance of a filter against."""

    @property
    def width_multiple(self) -> int:
        """Number whose multiples the widths of layers shall be; the filters to the next one go together."""

    @property
    def largest_by(self) -> LargestBy:
        """How `random_largest` measures the size of a layer."""


class Chosen(NamedTuple):
    """The filters to remove, and the ranking that they were chosen by, if any."""

    filters: list[Filter]
    ranking: Ranking | None = None


Selection = Callable[[Trainer, Settings], Chosen]
"""A function that chooses at most `filters_per_step` filters and leaves `min_filters` in every layer."""


def rank(trainer: Trainer, importance: str) -> Ranking:
    """Score the filters of the current network by a name in `IMPORTANCES` and rank them."""
    return Ranking(trainer.score(importance), IMPORTANCES[importance].normalised)


def lowest(trainer: Trainer, settings: Settings) -> Chosen:
    """Choose the least important filters (Dinsdale et al. 2022, §2.1), per saving if `cost` is set."""
    ranking = rank(trainer, settings.importance)
    savings = None if settings.cost == "none" else trainer.savings(settings.cost)
    count = (settings.filters_per_step, settings.min_filters)
    return Chosen(ranking.lowest(*count, savings, settings.width_multiple), ranking)


def random_in_stamp_layer(trainer: Trainer, settings: Settings) -> Chosen:
    """Choose random filters of the layers that STAMP would prune (Hassler et al. 2026, first procedure).

    The ranking that finds these layers is charged to the run.
    """
    ranking = rank(trainer, settings.importance)
    remaining = _remaining(trainer)
    layers = [layer for layer, *_ in ranking.lowest(settings.filters_per_step, settings.min_filters)]
    return Chosen([_take(layer, remaining, trainer.rng) for layer in layers], ranking)


def random_uniform(trainer: Trainer, settings: Settings) -> Chosen:
    """Choose filters at random, all with the same probability, so that wide layers lose more of them."""

    def choose(prunable: Mapping[str, int]) -> str:
        widths = np.array(list(prunable.values()), dtype=float)
        return str(trainer.rng.choice(list(prunable), p=widths / widths.sum()))

    return _one_by_one(trainer, settings, choose)


def random_largest(trainer: Trainer, settings: Settings) -> Chosen:
    """Choose random filters of the largest layer, without a ranking (Hassler et al. 2026, second procedure).

    The abstract says that STAMP "mainly prunes from the layers with the highest number of channels", so the size of a
    layer is its number of filters. Whether a layer is a convolution or all of a level, and how ties are broken, stays
    unknown: `largest_by` offers both, and the number of weights, and ties are broken at random with equal probability.
    """
    architecture = trainer.architecture

    def choose(prunable: Mapping[str, int]) -> str:
        sizes = _sizes(architecture, prunable, settings.largest_by)
        ties = [layer for layer in prunable if sizes[layer] == max(sizes.values())]
        return str(trainer.rng.choice(ties))

    def shrink(layer: str) -> None:
        nonlocal architecture
        assert not isinstance(architecture, PocketNetArchitecture)
        architecture = architecture.without([Filter(layer, 0)])

    return _one_by_one(trainer, settings, choose, shrink)


def _one_by_one(
    trainer: Trainer,
    settings: Settings,
    choose: Callable[[Mapping[str, int]], str],
    shrink: Callable[[str], None] = lambda layer: None,
) -> Chosen:
    """Choose random filters one at a time; `choose` picks the layer, and `shrink` is then called with it."""
    remaining = _remaining(trainer)
    filters: list[Filter] = []
    while len(filters) < settings.filters_per_step:
        prunable = {layer: len(left) for layer, left in remaining.items() if len(left) > settings.min_filters}
        if not prunable:
            break
        layer = choose(prunable)
        filters.append(_take(layer, remaining, trainer.rng))
        shrink(layer)
    return Chosen(filters)


def _sizes(architecture: Architecture, layers: Mapping[str, int], by: LargestBy) -> dict[str, int]:
    if by == "channels":
        return {layer: architecture.layers[layer] for layer in layers}
    if not isinstance(architecture, UNetArchitecture):
        raise StrategyError(f"largest_by={by}: known for the U-Net only; set largest_by=channels")
    if by == "parameters":
        kernel = 3**architecture.spatial_dims
        weights = [i * o * kernel for i, o in zip(architecture.inputs, architecture.convs, strict=True)]
        return {layer: weights[_position(layer)] for layer in layers}
    per_level = architecture.convs_per_level
    levels = [
        sum(architecture.convs[start : start + per_level]) for start in range(0, len(architecture.convs), per_level)
    ]
    return {layer: levels[_position(layer) // per_level] for layer in layers}


def _position(layer: str) -> int:
    if not layer.startswith("conv"):
        raise StrategyError(
            f"largest_by: the transposed convolution '{layer}' (prune_upconvs) can only be compared by its filters; "
            "set largest_by=channels"
        )
    return int(layer.removeprefix("conv")) - 1


def _remaining(trainer: Trainer) -> dict[str, list[int]]:
    return {layer: list(range(width)) for layer, width in trainer.architecture.layers.items()}


def _take(layer: str, remaining: dict[str, list[int]], rng: np.random.Generator) -> Filter:
    return Filter(layer, remaining[layer].pop(int(rng.integers(len(remaining[layer])))))


SELECTIONS: dict[str, Selection] = {
    "lowest": lowest,
    "random_in_stamp_layer": random_in_stamp_layer,
    "random_largest": random_largest,
    "random_uniform": random_uniform,
}
"""Selections by the value of the hyperparameter `selection`; plug-ins add their own."""
