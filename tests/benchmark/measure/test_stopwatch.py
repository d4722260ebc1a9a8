"""The three stopwatches, with a simulated GPU that computes while its host queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stampbench.benchmark.measure.stopwatch import (
    Clock,
    Stopwatch,
    calls_per_sample,
    kernel_stopwatch,
    throughput_stopwatch,
    wall_stopwatch,
)


class Simulation:
    """A host that needs 0.2 ms to queue a call, and a GPU that needs some time to compute it.

    The GPU is `busy_until` then; evicting its cache takes 0.5 ms, and kernels after it take 0.1 ms longer.
    """

    def __init__(self, kernels: float) -> None:
        self.kernels, self.host, self.busy_until = kernels, 0.0, 0.0
        self.cold = False

    def queue(self, milliseconds: float, launch: float) -> None:
        self.host += launch
        self.busy_until = max(self.busy_until, self.host) + milliseconds

    def call(self) -> None:
        self.queue(self.kernels + (0.1 if self.cold else 0.0), 0.2)
        self.cold = False

    def evict(self) -> None:
        self.queue(0.5, 0.01)
        self.cold = True

    def synchronise(self) -> None:
        self.host = max(self.host, self.busy_until)

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.host, self.synchronise)

    def new_event(self) -> Any:
        simulation = self

        class Event:
            moment = 0.0

            def record(self) -> None:
                self.moment = simulation.busy_until

            def elapsed_time(self, end: Any) -> float:
                return float(end.moment - self.moment)

        return Event()


def kernels_of(simulation: Simulation) -> Stopwatch:
    return kernel_stopwatch(simulation.new_event, simulation.evict, simulation.synchronise)


@pytest.mark.parametrize(
    ("stopwatch", "milliseconds"),
    [
        (lambda each: wall_stopwatch(each.clock), 0.2 + 0.05),  # launch, then compute, every time
        (lambda each: throughput_stopwatch(each.clock), 0.2),  # launches hide small kernels
        (kernels_of, 0.05 + 0.1),  # neither launches nor the eviction, but a cold cache
    ],
)
def test_three_stopwatches_answer_three_questions(
    stopwatch: Callable[[Simulation], Stopwatch], milliseconds: float
) -> None:
    simulation = Simulation(kernels=0.05)
    assert stopwatch(simulation)(simulation.call, 100) / 100 == pytest.approx(milliseconds, rel=0.01)


def test_throughput_of_large_kernels_is_theirs() -> None:
    simulation = Simulation(kernels=3.0)
    assert throughput_stopwatch(simulation.clock)(simulation.call, 100) / 100 == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize(("milliseconds", "calls"), [(5.0, 1), (1.0, 1), (0.4, 4), (0.01, 128), (0.0, 1024)])
def test_short_calls_are_repeated_until_a_sample_lasts_a_millisecond(milliseconds: float, calls: int) -> None:
    assert calls_per_sample(lambda: None, lambda _, number: number * milliseconds) == calls
