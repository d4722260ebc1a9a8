"""Filters in order of importance, and what follows from the order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from stampbench.models.architecture import Filter
from stampbench.strategies.importance import Scores

_EPSILON = 1e-12


class Ranking(NamedTuple):
    """Filter magnitudes Θ, normalised within each layer (Dinsdale et al. 2022, eq. 3)."""

    magnitudes: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, scores: Scores, *, normalised: bool = True) -> Ranking:
        """Divide each layer's scores by their L2 norm, or take them as they are.

        A layer whose filters are all dead stays zero.
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
        """All filters, the least important first; equals in the order of layer and filter."""
        filters = [
            (value, position, index, layer)
            for position, (layer, values) in enumerate(self.magnitudes.items())
            for index, value in enumerate(values)
        ]
        return [Filter(layer, index, value) for value, _, index, layer in sorted(filters)]

    def lowest(self, count: int, min_filters: int = 1) -> list[Filter]:
        """The `count` least important filters whose removal leaves `min_filters` in every layer.

        Fewer, if there are no more.
        """
        left = {layer: len(values) for layer, values in self.magnitudes.items()}
        chosen: list[Filter] = []
        for filter in self.ascending():
            if len(chosen) == count:
                break
            if left[filter.layer] > min_filters:
                left[filter.layer] -= 1
                chosen.append(filter)
        return chosen

    def dropout(self, base: float) -> dict[str, float]:
        """Targeted dropout (Dinsdale et al. 2022, Algorithm 1): p_l = base · μ_l / max μ.

        μ_l is the mean position, counted from 1, of layer l's filters among all filters sorted by descending
        magnitude; equals keep the order of layer and filter.
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
