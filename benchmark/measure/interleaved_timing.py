"""Interleaved timing: functions are called in turns until the ratios of their times are precise.

Machines drift: another program starts, a clock frequency changes. A round is one call of every function, and functions
are compared by their ratio within a round. The median ratio has a confidence interval from order statistics, without
an assumed distribution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from stampbench.benchmark.environment.nvml import GpuState
from stampbench.benchmark.measure.stopwatch import Call, Stopwatch, calls_per_sample

_ROUNDS, _FEWEST_ROUNDS = 15, 6
_PRECISE = 0.03
"""Relative half width of the 95 % intervals at which measuring ends."""


class MedianInterval(NamedTuple):
    """A median and its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width, relative to the median."""
        return (self.high - self.low) / 2 / self.median


class Timing(NamedTuple):
    """Times of one function in milliseconds per call.

    Attributes:
        p50, p90, p99: percentiles of the times.
        ratio: median ratio to the first function within a round, per image.
        own: median time.
        rounds: number of timed samples.
        calls: calls per sample.
    """

    p50: float
    p90: float
    p99: float
    ratio: MedianInterval
    own: MedianInterval
    rounds: int
    calls: int = 1


class Round(NamedTuple):
    """One sample of every function.

    Attributes:
        milliseconds: time per call by function.
        state: the GPU after the round; None: it was not read.
    """

    milliseconds: Mapping[str, float]
    state: GpuState | None = None

    @property
    def throttled(self) -> bool:
        """Whether the GPU had reduced its clock."""
        return self.state is not None and bool(self.state.throttling)


class InterleavedTimes(NamedTuple):
    """Times of functions that were called in turns.

    Attributes:
        timings: times by function, of the rounds in which the GPU did not throttle.
        rounds: all rounds.
        throttled: whether too few rounds were undisturbed, so that `timings` are those of all rounds.
    """

    timings: dict[str, Timing]
    rounds: list[Round]
    throttled: bool

    @property
    def discarded(self) -> int:
        """Number of rounds that do not count."""
        return 0 if self.throttled else sum(each.throttled for each in self.rounds)


def time_interleaved(
    calls: Mapping[str, Call],
    stopwatch: Stopwatch,
    *,
    seconds: float,
    images: Mapping[str, int] | None = None,
    read_state: Callable[[], GpuState | None] = lambda: None,
) -> InterleavedTimes:
    """Sample each function once per round, until the ratios to the first are precise or time is over.

    Rounds in which the GPU throttles are discarded; they may take twice the time in addition.

    Args:
        calls: functions by name; each computes one batch.
        stopwatch: what is measured.
        seconds: most seconds of measuring, warm-up not included.
        images: images of a function's batch, where batches differ; ratios are per image.
        read_state: reads the GPU's state after each round.
    """
    for call in calls.values():
        _warm_up(call, stopwatch)
    repeats = {name: calls_per_sample(call, stopwatch) for name, call in calls.items()}
    names, order = list(calls), np.random.default_rng(0)
    rounds: list[Round] = []
    started = time.perf_counter()
    while True:
        # The order changes every round, because each call leaves traces in caches and in the heap.
        turns = map(str, order.permutation(names))
        taken = {name: stopwatch(calls[name], repeats[name]) / repeats[name] for name in turns}
        rounds.append(Round(taken, read_state()))
        elapsed = time.perf_counter() - started
        over, kept = elapsed > seconds, [each for each in rounds if not each.throttled]
        hopeless = elapsed > 3 * seconds and len(rounds) >= 3 * _FEWEST_ROUNDS and len(kept) < _FEWEST_ROUNDS
        number = len(rounds) if hopeless else len(kept)
        # Slow functions get fewer rounds; their intervals are wider accordingly.
        if (number >= _ROUNDS or (over and number >= _FEWEST_ROUNDS)) and (over or number % 5 == 1):
            timings = _timings(rounds if hopeless else kept, repeats, images or {})
            widest = max(max(each.ratio.half_width, each.own.half_width) for each in timings.values())
            if over or widest <= _PRECISE:
                return InterleavedTimes(timings, rounds, hopeless)


def median_interval(values: Sequence[float]) -> MedianInterval:
    """Return the median and the order statistics that enclose it with 95 % probability.

    The number of values below the true median is binomial with probability ½.
    """
    ordered = sorted(values)
    below = int(np.argmax(bdtr(np.arange(len(ordered) + 1), len(ordered), 0.5) >= 0.025))
    low = max(below - 1, 0)
    return MedianInterval(float(np.median(ordered)), ordered[low], ordered[len(ordered) - 1 - low])


def _timings(rounds: Sequence[Round], repeats: Mapping[str, int], images: Mapping[str, int]) -> dict[str, Timing]:
    first = next(iter(repeats))
    found = {}
    for name in repeats:
        times = [each.milliseconds[name] for each in rounds]
        factor = images.get(first, 1) / images.get(name, 1)
        ratio = median_interval([factor * a / each.milliseconds[first] for a, each in zip(times, rounds, strict=True)])
        p50, p90, p99 = np.percentile(times, [50, 90, 99])
        own = median_interval(times)
        found[name] = Timing(float(p50), float(p90), float(p99), ratio, own, len(times), repeats[name])
    return found


def _warm_up(call: Call, stopwatch: Stopwatch) -> None:
    """Call until three calls take at least nine tenths of the time of the three before, or five seconds are over."""
    deadline = time.perf_counter() + 5.0
    before, taken = math.inf, [stopwatch(call, 1) for _ in range(3)]
    while float(np.median(taken)) < 0.9 * before and time.perf_counter() < deadline:
        before, taken = float(np.median(taken)), [stopwatch(call, 1) for _ in range(3)]
