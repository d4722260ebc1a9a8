"""Ranking of filters by importance, and the targeted dropout probabilities that follow from it."""

from __future__ import annotations

import math
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
        epsilon = _EPSILON * (max(norms.values(), default=0.0) or 1.0)
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

    def lowest(self, count: int, min_filters: int = 1) -> list[Filter]:
        """Return the `count` least important filters whose removal leaves `min_filters` in every layer.

        The list is shorter when fewer filters can be removed.
        """
        remaining = {layer: len(values) for layer, values in self.magnitudes.items()}
        chosen: list[Filter] = []
        for filter in self.ascending():
            if len(chosen) == count:
                break
            if remaining[filter.layer] > min_filters:
                remaining[filter.layer] -= 1
                chosen.append(filter)
        return chosen

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
