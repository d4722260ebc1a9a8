"""Which filters go next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, Protocol

import numpy as np

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.strategies.base import Trainer
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.importance import IMPORTANCES
from stampbench.strategies.ranking import Ranking

LargestBy = Literal["channels", "parameters", "block"]


class Settings(Protocol):
    """The hyperparameters of a pruning strategy that a selection may use."""

    @property
    def filters_per_step(self) -> int: ...
    @property
    def min_filters(self) -> int: ...
    @property
    def importance(self) -> str: ...
    @property
    def largest_by(self) -> LargestBy: ...


class Chosen(NamedTuple):
    """The filters to remove, and the ranking they came from where there was one."""

    filters: list[Filter]
    ranking: Ranking | None = None


Selection = Callable[[Trainer, Settings], Chosen]
"""Chooses at most `filters_per_step` filters and leaves `min_filters` in every layer."""


def rank(trainer: Trainer, importance: str) -> Ranking:
    """Score the filters now and order them."""
    return Ranking.of(trainer.score(importance), normalised=IMPORTANCES[importance].normalised)


def lowest(trainer: Trainer, settings: Settings) -> Chosen:
    """The least important filters (Dinsdale et al. 2022, §2.1)."""
    ranking = rank(trainer, settings.importance)
    return Chosen(ranking.lowest(settings.filters_per_step, settings.min_filters), ranking)


def random_in_stamp_layer(trainer: Trainer, settings: Settings) -> Chosen:
    """Random filters of the layers that STAMP would prune (Hassler 2024, first procedure); ranking is paid for."""
    ranking = rank(trainer, settings.importance)
    remaining = _remaining(trainer)
    layers = [layer for layer, *_ in ranking.lowest(settings.filters_per_step, settings.min_filters)]
    return Chosen([_take(layer, remaining, trainer.rng) for layer in layers], ranking)


def random_uniform(trainer: Trainer, settings: Settings) -> Chosen:
    """Any filters, each as likely as the next, so that wide layers lose more."""

    def choose(open_layers: Mapping[str, int]) -> str:
        widths = np.array(list(open_layers.values()), dtype=float)
        return str(trainer.rng.choice(list(open_layers), p=widths / widths.sum()))

    return _one_by_one(trainer, settings, choose)


def random_largest(trainer: Trainer, settings: Settings) -> Chosen:
    """Random filters of the largest layer (Hassler 2024, second procedure); nothing is ranked.

    `largest_by` says what large means, since the abstract does not: the layer with most filters, with most
    weights, or any layer of the level with most filters. Equals are drawn from uniformly.
    """
    architecture = _unet(trainer)

    def choose(open_layers: Mapping[str, int]) -> str:
        sizes = _sizes(architecture, open_layers, settings.largest_by)
        ties = [layer for layer in open_layers if sizes[layer] == max(sizes.values())]
        return str(trainer.rng.choice(ties))

    def shrink(layer: str) -> None:
        nonlocal architecture
        architecture = architecture.without([Filter(layer, 0)])

    return _one_by_one(trainer, settings, choose, shrink)


def _one_by_one(
    trainer: Trainer,
    settings: Settings,
    choose: Callable[[Mapping[str, int]], str],
    shrink: Callable[[str], None] = lambda layer: None,
) -> Chosen:
    remaining = _remaining(trainer)
    filters: list[Filter] = []
    while len(filters) < settings.filters_per_step:
        open_layers = {layer: len(left) for layer, left in remaining.items() if len(left) > settings.min_filters}
        if not open_layers:
            break
        layer = choose(open_layers)
        filters.append(_take(layer, remaining, trainer.rng))
        shrink(layer)
    return Chosen(filters)


def _sizes(architecture: UNetArchitecture, layers: Mapping[str, int], by: LargestBy) -> dict[str, int]:
    if by == "channels":
        return {layer: architecture.layers[layer] for layer in layers}
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
        raise StrategyError(f"largest_by=channels is the only one that can compare '{layer}' (prune_upconvs)")
    return int(layer.removeprefix("conv")) - 1


def _unet(trainer: Trainer) -> UNetArchitecture:
    assert isinstance(trainer.architecture, UNetArchitecture)
    return trainer.architecture


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
"""By the name that a strategy's `selection` takes; plug-ins add theirs."""
