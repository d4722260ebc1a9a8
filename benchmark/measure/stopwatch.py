"""Stopwatches: three ways to time a network on a device, which answer different questions.

On a GPU a call only queues kernels. Networks of some hundred small kernels take as long as queueing them, however small
they are: the wall clock says so, and the kernels' own time does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch

from stampbench.benchmark.measure.latency_row import TimingName

Call = Callable[[], object]
Stopwatch = Callable[[Call, int], float]
"""Function of a call and a number of repetitions that returns milliseconds of all of them together."""

SAMPLE_MS = 1.0
"""Shortest sample; shorter calls are repeated within it."""
_MOST_CALLS = 1024


class Clock(NamedTuple):
    """A clock and a device.

    Attributes:
        now: returns milliseconds.
        synchronise: waits until the device has computed all that was queued.
    """

    now: Callable[[], float]
    synchronise: Callable[[], object]


class Event(Protocol):
    """A moment in a GPU's queue, as `torch.cuda.Event` records it."""

    def record(self) -> None:
        """Queue the event."""

    def elapsed_time(self, end: Any, /) -> float:
        """Return the milliseconds between this event and a later one."""


def wall_stopwatch(clock: Clock) -> Stopwatch:
    """Return a stopwatch that waits for the device after every call."""

    def measure(call: Call, calls: int) -> float:
        clock.synchronise()
        started = clock.now()
        for _ in range(calls):
            call()
            clock.synchronise()
        return clock.now() - started

    return measure


def throughput_stopwatch(clock: Clock) -> Stopwatch:
    """Return a stopwatch that waits for the device only after the last call."""

    once = wall_stopwatch(clock)

    def measure(call: Call, calls: int) -> float:
        def all_calls() -> None:
            for _ in range(calls):
                call()

        return once(all_calls, 1)

    return measure


def kernel_stopwatch(new_event: Callable[[], Event], evict: Call, synchronise: Call) -> Stopwatch:
    """Return a stopwatch that sums the time between two events around each call.

    Args:
        new_event: makes an event.
        evict: queues work that replaces the contents of the L2 cache; it is not timed, and keeps the GPU busy while the
            call is queued.
        synchronise: waits for the device.
    """

    def measure(call: Call, calls: int) -> float:
        pairs = []
        for _ in range(calls):
            start, end = new_event(), new_event()
            evict()
            start.record()
            call()
            end.record()
            pairs.append((start, end))
        synchronise()
        return sum(start.elapsed_time(end) for start, end in pairs)

    return measure


def device_clock(device: torch.device) -> Clock:
    """Return the wall clock with the synchronisation of a device; a CPU needs none."""

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    return Clock(lambda: 1000 * time.perf_counter(), synchronise)


def stopwatch_for(timing: TimingName, device: torch.device) -> Stopwatch:
    """Return the stopwatch of a timing on a device; `kernels` needs a CUDA device."""
    clock = device_clock(device)
    if timing == "wall":
        return wall_stopwatch(clock)
    if timing == "throughput":
        return throughput_stopwatch(clock)
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    buffer = torch.empty(2 * cache, dtype=torch.uint8, device=device)
    measure = kernel_stopwatch(lambda: torch.cuda.Event(enable_timing=True), buffer.zero_, clock.synchronise)  # type: ignore[no-untyped-call]

    def on_device(call: Call, calls: int) -> float:
        with torch.cuda.device(device):  # events belong to the current device's stream
            return measure(call, calls)

    return on_device


def calls_per_sample(call: Call, stopwatch: Stopwatch) -> int:
    """Return how often a call is repeated in a sample, so that it lasts a millisecond: a power of two."""
    calls = 1
    while calls < _MOST_CALLS and stopwatch(call, calls) < SAMPLE_MS:
        calls *= 2
    return calls
