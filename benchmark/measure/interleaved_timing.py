"""Interleaved timing: functions are called in turns until the ratios of their times are precise.

Machines drift: another program starts, a clock frequency changes. A round is one call of every function, and functions
are compared by their ratio within a round. The median ratio has a confidence interval from order statistics, without
an assumed distribution.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

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
        ratio: median ratio to the first function within a round.
        own: median time.
        rounds: number of timed calls.
    """

    p50: float
    p90: float
    p99: float
    ratio: MedianInterval
    own: MedianInterval
    rounds: int


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], device: torch.device, *, seconds: float
) -> dict[str, Timing]:
    """Call each function once per round, until the ratios to the first are precise or time is over.

    Args:
        calls: functions by name; each computes one batch.
        device: where they compute.
        seconds: most seconds of measuring, warm-up not included.
    """
    stopwatch = _stopwatch(device)
    for call in calls.values():
        _warm_up(call, stopwatch)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, order = list(calls), np.random.default_rng(0)
    started = time.perf_counter()
    while True:
        rounds = len(taken[names[0]])
        # The order changes every round, because each call leaves traces in caches and in the heap.
        for name in order.permutation(names):
            taken[name].append(stopwatch(calls[name]))
        over = time.perf_counter() - started > seconds
        # Slow functions get fewer rounds; their intervals are wider accordingly.
        if (rounds + 1 >= _ROUNDS or (over and rounds + 1 >= _FEWEST_ROUNDS)) and (over or rounds % 5 == 0):
            timings = {name: _timing(taken[name], taken[names[0]]) for name in names}
            widest = max(max(each.ratio.half_width, each.own.half_width) for each in timings.values())
            if over or widest <= _PRECISE:
                return timings


def median_interval(values: Sequence[float]) -> MedianInterval:
    """Return the median and the order statistics that enclose it with 95 % probability.

    The number of values below the true median is binomial with probability ½.
    """
    ordered = sorted(values)
    below = int(stats.binom.ppf(0.025, len(ordered), 0.5))
    low = max(below - 1, 0)
    return MedianInterval(float(np.median(ordered)), ordered[low], ordered[len(ordered) - 1 - low])


def _timing(times: Sequence[float], first: Sequence[float]) -> Timing:
    p50, p90, p99 = np.percentile(times, [50, 90, 99])
    ratio = median_interval([a / b for a, b in zip(times, first, strict=True)])
    return Timing(float(p50), float(p90), float(p99), ratio, median_interval(times), len(times))


def _warm_up(call: Callable[[], object], stopwatch: Callable[[Callable[[], object]], float]) -> None:
    """Call until three calls take at least nine tenths of the time of the three before, or five seconds are over."""
    deadline = time.perf_counter() + 5.0
    before, taken = math.inf, [stopwatch(call) for _ in range(3)]
    while float(np.median(taken)) < 0.9 * before and time.perf_counter() < deadline:
        before, taken = float(np.median(taken)), [stopwatch(call) for _ in range(3)]


def _stopwatch(device: torch.device) -> Callable[[Callable[[], object]], float]:
    if device.type == "cuda":
        return partial(_cuda_milliseconds, device)
    if device.type == "mps":
        return _mps_milliseconds
    return _milliseconds


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _mps_milliseconds(call: Callable[[], object]) -> float:
    torch.mps.synchronize()
    started = time.perf_counter()
    call()
    torch.mps.synchronize()
    return 1000 * (time.perf_counter() - started)


def _cuda_milliseconds(device: torch.device, call: Callable[[], object]) -> float:
    with torch.cuda.device(device):  # events belong to the current device's stream
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()  # type: ignore[no-untyped-call]
        call()
        end.record()  # type: ignore[no-untyped-call]
        end.synchronize()  # type: ignore[no-untyped-call]
    return float(start.elapsed_time(end))  # type: ignore[no-untyped-call]
