"""Tests of filter selections and of early stopping of pruning."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.benchmark.config.protocol import PAPER
from stampbench.benchmark.execution.dry_run import DryRunTrainer
from stampbench.models.architecture import UNetArchitecture
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.selection import SELECTIONS


class EnoughError(Exception):
    """The wanted number of prunes has been recorded."""


class PruneRecorder(DryRunTrainer):
    """A dry-run trainer that records the removed filters and the widths after each prune.

    Args:
        architecture: the network.
        seed: seed of random selections.
        most: number of prunes after which `EnoughError` is raised; None: never.
    """

    def __init__(self, architecture: UNetArchitecture, seed: int = 0, most: int | None = None) -> None:
        super().__init__(architecture, PAPER)
        self.rng, self.most = np.random.default_rng(seed), most
        self.widths: list[dict[str, int]] = [dict(architecture.layers)]
        self.removed: list[Any] = []

    def prune(self, filters: Any, optimiser: Any = "new") -> None:
        filters = list(filters)
        super().prune(filters, optimiser)
        self.removed.append(filters)
        self.widths.append(dict(self.architecture.layers))
        if len(self.removed) == self.most:
            raise EnoughError


def follow(name: str, seed: int = 0, most: int | None = None, **settings: Any) -> PruneRecorder:
    """Run a strategy on a dry-run trainer, to its end or to a number of prunes."""
    entry = STRATEGIES[name]
    strategy = entry.load()(**{**entry.preset, **settings})
    recorder = PruneRecorder(strategy.start(3, 1, 2), seed, most)  # type: ignore[arg-type]
    with suppress(EnoughError):
        strategy.fit(recorder)
    return recorder


def first_layer(name: str, seed: int, **settings: Any) -> str:
    """Return the layer that loses the first filter."""
    return str(follow(name, seed, most=1, **settings).removed[0][0].layer)


def test_random_largest_flattens_a_doubling_network_from_its_widest_layers() -> None:
    """With f=4 and depth 4, the widest layer loses filters until others are as wide; ties can fall in any order.

    The reference: after s single steps, the sorted widths result from subtracting 1 from a largest number s times.
    """
    recorder = follow("random_largest", seed=5)
    expected = sorted([4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 32, 32, 16, 16, 8, 8, 4], reverse=True)
    assert len(recorder.widths) == 348
    for widths in recorder.widths:
        assert sorted(widths.values(), reverse=True) == expected
        expected[0] -= 1
        expected.sort(reverse=True)
    flat = recorder.widths[364 - 17 * 4]
    assert set(flat.values()) == {4}
    assert recorder.ranking_passes == 0


def test_ties_are_broken_uniformly_and_reproducibly() -> None:
    layers = Counter(first_layer("random_largest", seed, f=2, depth=1) for seed in range(300))
    assert set(layers) == {"conv3", "conv4"}  # the two layers of the bottleneck
    assert 100 < layers["conv3"] < 200
    assert follow("random_largest", 3).removed == follow("random_largest", 3).removed


def test_largest_by_parameters_prunes_the_layer_with_the_most_weights() -> None:
    """With f=2 and depth 1, i·o is 4·4 = 16 for conv4, 2·4 = 8 for conv3 and (2 + 2)·2 = 8 for conv5."""
    removed = follow("random_largest", largest_by="parameters", f=2, depth=1).removed
    assert removed[0][0].layer == "conv4"


def test_largest_by_block_prunes_any_layer_of_the_widest_level() -> None:
    layers = {first_layer("random_largest", seed, largest_by="block", f=4, depth=2) for seed in range(30)}
    assert layers == {"conv5", "conv6"}


def test_largest_by_parameters_is_refused_with_prunable_transposed_convolutions() -> None:
    with pytest.raises(StrategyError, match="largest_by=channels"):
        follow("random_largest", largest_by="parameters", prune_upconvs=True)


def test_random_in_stamp_layer_prunes_the_layer_that_stamp_would_prune() -> None:
    scores = {"conv1": [0.9, 0.8], "conv2": [0.5, 0.1, 0.7], "conv3": [0.4, 0.45]}

    class FixedScores(PruneRecorder):
        def score(self, importance: str) -> Any:
            self.ranking_passes += 1
            return {
                layer: scores.get(layer, [1.0] * width)[:width] for layer, width in self.architecture.layers.items()
            }

    class Settings:
        filters_per_step, min_filters, importance, largest_by = 1, 1, "l2", "channels"

    channels = Counter()
    for seed in range(200):
        recorder = FixedScores(UNetArchitecture.doubling(2, 1, 2, f=3, depth=1), seed)
        (filter,) = SELECTIONS["random_in_stamp_layer"](recorder, Settings()).filters
        assert filter.layer == "conv2"
        assert recorder.ranking_passes == 1
        channels[filter.channel] += 1
    assert set(channels) == {0, 1, 2}
    assert min(channels.values()) > 35


def test_random_uniform_prunes_layers_in_proportion_to_their_width() -> None:
    layers = Counter(first_layer("random_uniform", seed, f=4, depth=1) for seed in range(400))
    widths = UNetArchitecture.doubling(3, 1, 2, f=4, depth=1).layers
    for layer, width in widths.items():
        assert layers[layer] == pytest.approx(400 * width / sum(widths.values()), abs=40)


@given(
    name=st.sampled_from(["random_largest", "random_uniform", "random_stamp_layer", "stamp"]),
    seed=st.integers(0, 1000),
    step=st.integers(1, 9),
    min_filters=st.integers(1, 3),
)
def test_every_selection_takes_distinct_filters_and_keeps_min_filters(
    name: str, seed: int, step: int, min_filters: int
) -> None:
    recorder = follow(name, seed, f=4, depth=1, filters_per_step=step, min_filters=min_filters)
    assert set(recorder.widths[-1].values()) == {min_filters}
    for before, filters in zip(recorder.widths, recorder.removed, strict=False):
        assert len({filter[:2] for filter in filters}) == len(filters) <= step
        assert all(filter.channel < before[filter.layer] for filter in filters)


def test_pruning_stops_at_stop_parameters_and_at_stop_fraction() -> None:
    from stampbench.models.model import parameter_count

    initial = parameter_count(UNetArchitecture.doubling(3, 1, 2))
    by_count = follow("stamp", stop_parameters=100_000)
    assert parameter_count(by_count.architecture) <= 100_000
    assert len(by_count.widths) < 347
    by_fraction = follow("random_largest", stop_fraction=0.5)
    assert 0.48 * initial < parameter_count(by_fraction.architecture) <= 0.5 * initial


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stop_parameters": 5, "stop_fraction": 0.5}, "mutually exclusive"),
        ({"selection": "random_largest", "dropout": "targeted"}, "does not compute"),
        ({"selection": "lowst"}, "known selections"),
        ({"stop_fraction": 1.5}, "less than 1"),
    ],
)
def test_contradictory_or_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STRATEGIES["stamp"].load()(**settings)
