"""How long runs will take, from how long the recorded ones took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from stampbench.benchmark.execution.runner import Run


class Estimate(NamedTuple):
    """Epochs, at most; seconds of training, where anything alike was measured; and how many runs had nothing alike."""

    epochs: int
    seconds: float
    unknown: int


class Measured:
    """Epochs per run and seconds per epoch, by what runs have in common."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._epochs, self._pace = defaultdict[tuple[Any, ...], list[float]](list), defaultdict[Any, list[float]](list)
        for record in records:
            spec, summary = record["spec"], record["summary"]
            own = summary["epochs"] - summary.get("parent_epochs", 0)
            key = _key(spec["dataset"]["name"], spec["n_train"], spec["strategy"], spec["protocol"]["name"])
            self._epochs[key].append(own)
            if own and not summary.get("parent_epochs"):
                self._pace[key].append(summary["training_seconds"] / own)
                self._pace[key[:2]].append(summary["training_seconds"] / own)

    def of(self, runs: Sequence[Run]) -> Estimate:
        epochs, seconds, unknown = 0, 0.0, 0
        for run in runs:
            spec = run.spec
            key = _key(spec.dataset.name, spec.n_train, spec.strategy, spec.protocol.name)
            expected = int(median(self._epochs[key])) if key in self._epochs else run.plan.epochs
            pace = self._pace.get(key) or self._pace.get(key[:2])
            epochs += expected
            if pace is None:
                unknown += 1
            else:
                seconds += expected * median(pace)
        return Estimate(epochs, seconds, unknown)


def _key(dataset: str, n_train: int, strategy: str, protocol: str) -> tuple[Any, ...]:
    return (dataset, n_train, strategy, protocol)
