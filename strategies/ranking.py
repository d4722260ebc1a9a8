"""Ranking of filters by importance, and the targeted dropout probabilities that follow from it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from stampbench.models.architecture import Filter
from stampbench.strategies.importance import Scores

_EPSILON = 1e-12
"""Added to norms, relative to the largest norm of a layer, so that a layer with only zero scores stays zero."""


@dataclass(frozen=True)
class Ranking:
    """Filters ranked by their magnitudes Θ, normalised within each layer (Dinsdale et al. 2022, eq. 3).

    Attributes:
        scores: For each layer, the scores of its filters.
        normalised: Whether each layer's scores are divided by their L2 norm. A layer with only zero scores stays
            zero.
    """

    scores: Mapping[str, Iterable[float]]
    normalised: bool = True

    @cached_property
    def magnitudes(self) -> Scores:
        """For each layer, the magnitudes of its filters."""
        scores = {layer: list(values) for layer, values in self.scores.items()}
        if not self.normalised:
            return scores
        norms = {layer: math.hypot(*values) for layer, values in scores.items()}
        largest = max(norms.values(), default=0.0) or 1.0
        epsilon = max(_EPSILON * largest, sys.float_info.min)  # the product of a tiny norm would be 0
        return {layer: [value / (norms[layer] + epsilon) for value in values] for layer, values in scores.items()}

    def without(self, filters: Iterable[Filter]) -> Ranking:
        """Return the ranking of the filters that are left after the removal of `filters`, normalised anew."""
        removed = {(layer, channel) for layer, channel, _ in filters}
        left = {
            layer: [value for channel, value in enumerate(values) if (layer, channel) not in removed]
            for layer, values in self.scores.items()
        }
        return Ranking(left, self.normalised)

    def ascending(self) -> list[Filter]:
        """Return all filters, the least important first; ties are ordered by layer, then by filter."""
        filters = [
            (value, position, index, layer)
            for position, (layer, values) in enumerate(self.magnitudes.items())
            for index, value in enumerate(values)
        ]
        return [Filter(layer, index, value) for value, _, index, layer in sorted(filters)]

    def lowest(
        self, count: int, min_filters: int = 1, savings: Mapping[str, float] | None = None, width_multiple: int = 1
    ) -> list[Filter]:
        """Return the `count` least important filters whose removal leaves `min_filters` in every layer.

        The list is shorter when fewer filters can be removed, or when the next filters have to go together; it is
        longer when the first ones do.

        Args:
            count: Number of filters.
            min_filters: Filters that remain in every layer.
            savings: What a filter of each layer saves; the order is then that of magnitude per saving (HALP, Shen et
                al. 2022; NetAdapt, Yang et al. 2018). Filters that save nothing come last.
            width_multiple: The least important filters of a layer go together, as many as bring its width to the next
                multiple of this number; their mean magnitude counts.
        """
        left = {layer: sorted((value, index) for index, value in enumerate(values))
                for layer, values in self.magnitudes.items()}  # fmt: skip
        positions = {layer: position for position, layer in enumerate(left)}
        chosen: list[Filter] = []
        while True:
            room = count - len(chosen) if chosen else math.inf
            groups = []
            for layer, filters in left.items():
                size = filters_to_multiple(len(filters), min_filters, width_multiple)
                if 0 < size <= room and len(chosen) < count:
                    mean = sum(value for value, _ in filters[:size]) / size
                    saved = 1.0 if savings is None else savings[layer]
                    groups.append((mean / saved if saved > 0 else math.inf, mean, positions[layer], size, layer))
            if not groups:
                return chosen
            *_, size, layer = min(groups)
            chosen += [Filter(layer, index, value) for value, index in left[layer][:size]]
            del left[layer][:size]

    def dropout(self, base: float) -> dict[str, float]:
        """Return each layer's targeted dropout probability p_l = base · μ_l / max μ.

        μ_l is the mean position of layer l's filters, counted from 1, when all filters are sorted by descending
        magnitude; ties are ordered by layer, then by filter (Dinsdale et al. 2022, Algorithm 1).
        """
        descending = sorted(
            ((-value, position, index, layer)
             for position, (layer, values) in enumerate(self.magnitudes.items())
             for index, value in enumerate(values))
        )  # fmt: skip
        positions: dict[str, list[int]] = {layer: [] for layer in self.magnitudes}
        for place, (_, _, _, layer) in enumerate(descending, start=1):
            positions[layer].append(place)
        means = {layer: sum(places) / len(places) for layer, places in positions.items()}
        return {layer: base * mean / max(means.values()) for layer, mean in means.items()}


def filters_to_multiple(width: int, min_filters: int = 1, width_multiple: int = 1) -> int:
    """Return how many filters a layer has to lose to reach the next smaller multiple of `width_multiple`.

    Returns:
        0 if fewer than `min_filters` would be left.
    """
    size = (width - 1) % width_multiple + 1
    return size if width - size >= max(min_filters, 1) else 0
