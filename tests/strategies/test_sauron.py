"""Sauron: thresholds that rise, and filters below them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stampbench.benchmark.config.protocol import QUICK
from stampbench.benchmark.execution.dry_run import DryRunTrainer
from stampbench.models.architecture import UNetArchitecture
from stampbench.strategies.importance import Scores
from stampbench.strategies.sauron import Sauron, Threshold, filters_below


def thresholds(losses: list[float], widths: list[int], **settings: Any) -> list[float]:
    """Return τ after every epoch; `widths` are the filters before the first epoch and after every one."""
    threshold, values = Threshold(Sauron(**settings)), []
    for epoch in range(1, len(losses) + 1):
        threshold.update(losses[:epoch], widths[:epoch])
        values.append(threshold.value)
    return values


def rises(values: list[float]) -> list[int]:
    return [epoch for epoch in range(2, len(values) + 1) if values[epoch - 1] > values[epoch - 2]]


def test_thresholds_rise_in_equal_steps_at_epochs_12_18_24_when_the_loss_is_flat() -> None:
    flat = [1 + 0.1 * (-1) ** epoch for epoch in range(40)]
    values = thresholds(flat, [32] * 41)
    assert rises(values) == [12, 18, 24, 30, 36]
    step = (0.3 - 0.001) / 15
    assert values[0] == pytest.approx(0.001)
    assert values[11] == pytest.approx(0.001 + step)
    assert values[35] == pytest.approx(0.001 + 5 * step)


def test_the_last_threshold_stays() -> None:
    values = thresholds([1.0] * 40, [32] * 41, threshold_steps=2)
    assert values[-1] == pytest.approx(0.3)
    assert rises(values) == [12, 18]


def test_falling_losses_and_many_removed_filters_postpone_a_rise() -> None:
    assert rises(thresholds([1 / epoch for epoch in range(1, 41)], [32] * 41)) == []
    assert rises(thresholds([float(epoch) for epoch in range(40)], [32] * 41)) == []
    # 2 % of 100 filters are 2: losing 2 in the epoch before postpones, losing 1 does not.
    slow, fast = ([100] * 10 + [100 - loss] * 31 for loss in (1, 2))
    assert rises(thresholds([1.0] * 12, slow[:11] + slow[11:13])) == [12]
    fast = [100] * 11 + [98] * 10
    assert rises(thresholds([1.0] * 14, fast)) == [13]


def test_filters_below_the_threshold_go_but_one_that_they_are_compared_with() -> None:
    distances = {"a": [0.5, 0.0, 0.01, 1.0, 0.02], "b": [0.0, 0.0, 0.0], "c": [0.0], "d": [0.4, 0.0, 1.0]}
    found = filters_below(distances, {"a": 0.02, "b": 0.001, "c": 0.3, "d": 0.3})
    assert found == [("a", 2, 0.01), ("b", 1, 0.0), ("b", 2, 0.0)]


class Recorder(DryRunTrainer):
    """Has distances that grow with the number of the filter, and records calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[str] = []

    def score(self, importance: str) -> Scores:
        super().score(importance)
        self.calls.append(importance)
        return {layer: [number / width for number in range(width)] for layer, width in self.architecture.layers.items()}

    def prune(self, filters: Any, optimiser: Any = "new") -> None:
        chosen = list(filters)
        self.calls.append(f"{len(chosen)} {optimiser}")
        super().prune(chosen, optimiser)

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        raise AssertionError

    def regularise(self, name: str, weight: float) -> None:
        self.calls.append(f"{name} {weight}")


def test_prunes_after_every_epoch_until_one_filter_is_left() -> None:
    strategy = Sauron(f=4, depth=1, first_threshold=0.3)
    start = strategy.start(2, 1, 2)
    assert isinstance(start, UNetArchitecture)
    assert start.prune_upconvs
    trainer = Recorder(start, QUICK.model_copy(update={"max_epochs": 5}))
    strategy.fit(trainer)  # type: ignore[arg-type]
    # Layers of 4, 4, 8, 8, 4 and 4 filters: those at 1/4 go, and at 1/8 and 2/8; then 1 of 3, and 1 of 6; …
    assert trainer.calls[:5] == ["channel_distance 0.5", "channel_distance", "8 carry", "channel_distance", "2 carry"]
    assert (trainer.epochs, trainer.ranking_passes) == (5, 5)
    assert [each.epoch for each in trainer.checkpoints] == [2, 4, 5]
