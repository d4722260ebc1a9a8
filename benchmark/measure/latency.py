"""How long networks take for a batch, compared in turns.

Machines drift: another program starts, a clock changes. So the networks of a table take turns, a round is one
batch of each, and what is compared is the ratio within a round; its median has an interval that says how sure
it is (order statistics, no distribution assumed).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from stampbench.benchmark.environment.compute_settings import Precision
from stampbench.benchmark.measure.backends import Backend, Session, open_session
from stampbench.benchmark.measure.complexity import count
from stampbench.benchmark.measure.memory import inference_memory
from stampbench.models.network import Network

_LEAST_ROUNDS, _FEWEST_ROUNDS = 15, 6
_SURE = 0.03
"""Half the width of the ratio's 95 % interval, relative to the ratio, at which measuring ends."""
NOISY = 0.10
"""Half a width from which on a number is not printed."""
_SATURATED = 1.05
"""Doubling the batch has to bring more than this in images per second."""
_LARGEST_BATCH = 64
_MOST_BYTES = 4 * 2**30
"""Tensors of a batch that is tried."""


class MedianInterval(NamedTuple):
    """A median and its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2 / self.median


class Timing(NamedTuple):
    """What one network took, in milliseconds per batch, and relative to the first network of its table."""

    p50: float
    p90: float
    p99: float
    ratio: MedianInterval
    own: MedianInterval
    rounds: int


def time_networks(
    networks: Mapping[str, Network],
    images: Tensor,
    backend: Backend,
    precision: Precision,
    *,
    seconds: float = 20.0,
    report: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """A row per network, the first one's ratio being 1.

    Args:
        images: one batch `(N, channels, *spatial)` on the device to time.
        seconds: the most that measuring takes, warm-up apart.
        report: told which network is being made ready.

    Raises:
        UserError: a backend that is not there, or not for this device or precision.
    """
    ready: dict[str, Session] = {}
    for name, network in networks.items():
        report(f"{backend}: making {name} ready")
        ready[name] = open_session(network, images, backend, precision)
    report(f"{backend}: timing {len(ready)} networks")
    timings = time_interleaved({name: each.call for name, each in ready.items()}, images.device, seconds=seconds)
    rows = []
    for name, timing in timings.items():
        architecture, size = networks[name].architecture, tuple(images.shape[2:])
        cost = count(architecture, size)
        rows.append(
            {
                "network": name,
                "backend": backend,
                "precision": precision,
                "layout": ready[name].layout,
                "batch": len(images),
                "shape": "×".join(map(str, images.shape[1:])),
                "parameters": cost.parameters,
                "macs": cost.macs,
                "ratio": timing.ratio.median,
                "ratio_low": timing.ratio.low,
                "ratio_high": timing.ratio.high,
                "p50_ms": timing.p50,
                "p90_ms": timing.p90,
                "p99_ms": timing.p99,
                "images_per_second": 1000 * len(images) / timing.p50,
                "tensor_bytes": inference_memory(architecture, size, len(images)),
                "rounds": timing.rounds,
                # What slows all networks alike leaves ratios sure and times unsure.
                "noisy_ratio": timing.ratio.half_width > NOISY,
                "noisy_time": timing.own.half_width > NOISY,
            }
        )
    return rows


def saturating_batch(network: Network, image: Tensor, backend: Backend, precision: Precision) -> int:
    """The batch from which on doubling brings no more images per second; `image` is a batch of one."""
    batch, throughput = 1, 0.0
    while batch <= _LARGEST_BATCH:
        if inference_memory(network.architecture, tuple(image.shape[2:]), batch) > _MOST_BYTES:
            break
        images = image.repeat(batch, *[1] * (image.ndim - 1))
        try:
            call = open_session(network, images, backend, precision).call
            timing = time_interleaved({"one": call}, image.device, seconds=2.0)["one"]
        except torch.OutOfMemoryError:
            break
        now = batch / timing.p50
        if now < _SATURATED * throughput:
            return batch // 2
        batch, throughput = 2 * batch, now
    return max(batch // 2, 1)


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], device: torch.device, *, seconds: float
) -> dict[str, Timing]:
    """Call each once per round, until the ratios to the first are sure or the time is over."""
    stopwatch = _stopwatch(device)
    for call in calls.values():
        _warm_up(call, stopwatch)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names, order = list(calls), np.random.default_rng(0)
    started = time.perf_counter()
    while True:
        rounds = len(taken[names[0]])
        # In another order each round: what ran before leaves its traces in caches and in the heap.
        for name in order.permutation(names):
            taken[name].append(stopwatch(calls[name]))
        over = time.perf_counter() - started > seconds
        # Of slow networks fewer rounds have to do; their interval says so.
        if (rounds + 1 >= _LEAST_ROUNDS or (over and rounds + 1 >= _FEWEST_ROUNDS)) and (over or rounds % 5 == 0):
            timings = {name: _timing(taken[name], taken[names[0]]) for name in names}
            sure = all(max(each.ratio.half_width, each.own.half_width) <= _SURE for each in timings.values())
            if over or sure:
                return timings


def median_interval(values: Sequence[float]) -> MedianInterval:
    """The median and the order statistics that enclose it with 95 % probability.

    The number of values below the true median is binomial with probability ½.
    """
    ordered = sorted(values)
    below = int(stats.binom.ppf(0.025, len(ordered), 0.5))
    low = max(below - 1, 0)
    return MedianInterval(float(np.median(ordered)), ordered[low], ordered[len(ordered) - 1 - low])


def _timing(mine: Sequence[float], first: Sequence[float]) -> Timing:
    p50, p90, p99 = np.percentile(mine, [50, 90, 99])
    own = median_interval(mine)
    ratio = median_interval([a / b for a, b in zip(mine, first, strict=True)])
    return Timing(float(p50), float(p90), float(p99), ratio, own, len(mine))


def _warm_up(call: Callable[[], object], stopwatch: Callable[[Callable[[], object]], float]) -> None:
    """Until three calls take no less than the three before, by more than a tenth, or five seconds are over."""
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
    with torch.cuda.device(device):  # whose stream the events are put into
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()  # type: ignore[no-untyped-call]
        call()
        end.record()  # type: ignore[no-untyped-call]
        end.synchronize()  # type: ignore[no-untyped-call]
    return float(start.elapsed_time(end))  # type: ignore[no-untyped-call]
