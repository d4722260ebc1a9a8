"""Ranking of filters by importance, and the targeted dropout probabilities that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from stampbench.models.architecture import Filter
from stampbench.strategies.importance import Scores

_EPSILON = 1e-12


class Ranking(NamedTuple):
    """Filter magnitudes Θ by layer, normalised within each layer (Dinsdale et al. 2022, eq. 3)."""

    magnitudes: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, scores: Scores, *, normalised: bool = True) -> Ranking:
        """Make a ranking from scores.

        Args:
            scores: For each layer, the scores of its filters.
            normalised: Whether to divide each layer's scores by their L2 norm. A layer with only zero scores
                stays zero.
        """
        if not normalised:
            return cls({layer: tuple(values) for layer, values in scores.items()})
        return cls(
            {
                layer: tuple(value / (math.hypot(*values) + _EPSILON) for value in values)
                for layer, values in scores.items()
            }
        )

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
