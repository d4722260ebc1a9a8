"""How much of a time span a device computes, from the events of PyTorch's profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile


def idle_share(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the share of the time between the first start and the last end that no interval covers."""
    ordered = sorted(intervals)
    busy, until = 0.0, ordered[0][0]
    for start, end in ordered:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return 1 - busy / (until - ordered[0][0])


def traced_intervals(work: Callable[[], object], device: torch.device) -> list[tuple[float, float]]:
    """Return start and end of everything that a device computes during some work, in microseconds."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as trace:
        work()
        if cuda:
            torch.cuda.synchronize(device)
    kind = torch.autograd.DeviceType.CUDA if cuda else torch.autograd.DeviceType.CPU
    events = [each for each in trace.events() if each.device_type == kind and each.time_range.elapsed_us() > 0]
    return [(each.time_range.start, each.time_range.end) for each in events]
