"""How much of a time span a device computes, from the events of PyTorch's profiler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile


def idle_share(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the share of the time from the first start to the last end without an interval; NaN if there is none."""
    ordered = sorted(intervals)
    if not ordered:
        return math.nan
    busy, until = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return 1 - busy / (until - ordered[0][0])


def traced_intervals(work: Callable[[], object], device: torch.device) -> list[tuple[float, float]]:
    """Return start and end of everything that a device computes during some work, in microseconds.

    Tracing the CPU slows launches down, but some versions of the profiler find no kernels without it.
    """
    if device.type == "cpu":
        return _trace(work, [ProfilerActivity.CPU], torch.autograd.DeviceType.CPU)
    both, kind = [ProfilerActivity.CUDA, ProfilerActivity.CPU], torch.autograd.DeviceType.CUDA
    return _trace(work, both[:1], kind) or _trace(work, both, kind)


def _trace(work: Callable[[], object], activities: list[ProfilerActivity], kind: object) -> list[tuple[float, float]]:
    with profile(activities=activities) as trace:
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    events = [each for each in trace.events() if each.device_type == kind and each.time_range.elapsed_us() > 0]
    return [(each.time_range.start, each.time_range.end) for each in events]
