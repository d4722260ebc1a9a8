"""Estimates of how long runs will take, from recorded runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.schema import Record


class Estimate(NamedTuple):
    """Expected costs of runs.

    Attributes:
        epochs: epochs, at most.
        seconds: seconds of training of the runs that are comparable to a finished one.
        unknown: number of runs without a comparable finished run.
    """

    epochs: int
    seconds: float
    unknown: int


class FinishedRuns:
    """Epochs per run and seconds per epoch of finished runs, by dataset, training size, strategy and protocol."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._epochs, self._pace = defaultdict[tuple[Any, ...], list[float]](list), defaultdict[Any, list[float]](list)
        for record in records:
            spec, summary = record.spec, record.results
            own = summary.epochs - summary.parent_epochs
            key = (spec.dataset.name, spec.n_train, spec.strategy, spec.protocol.name)
            self._epochs[key].append(own)
            if own and not summary.parent_epochs:
                self._pace[key].append(summary.training_seconds / own)
                self._pace[key[:2]].append(summary.training_seconds / own)

    def estimate(self, runs: Sequence[Run]) -> Estimate:
        """Estimate the costs of runs."""
        epochs, seconds, unknown = 0, 0.0, 0
        for run in runs:
            spec = run.spec
            key = (spec.dataset.name, spec.n_train, spec.strategy, spec.protocol.name)
            expected = int(median(self._epochs[key])) if key in self._epochs else run.expected.epochs
            pace = self._pace.get(key) or self._pace.get(key[:2])
            epochs += expected
            if pace is None:
                unknown += 1
            else:
                seconds += expected * median(pace)
        return Estimate(epochs, seconds, unknown)
