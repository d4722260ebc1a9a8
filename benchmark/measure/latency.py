"""Latency of networks, compared by interleaved timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stampbench.benchmark.environment.precision import Precision
from stampbench.benchmark.measure.backends import Backend, Session, open_session
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.interleaved_timing import Timing, time_interleaved
from stampbench.benchmark.measure.latency_row import NetworkTiming
from stampbench.benchmark.measure.memory import inference_memory
from stampbench.models.model import Model

NOISY = 0.10
"""Relative half width of an interval from which on a number is not printed."""
_SATURATED = 1.05
"""Factor of images per second by which doubling the batch has to pay."""
_LARGEST_BATCH = 64
_MOST_BYTES = 4 * 2**30
"""Most bytes of tensors of a batch that is tried."""


def time_networks(
    networks: Mapping[str, Model],
    images: Tensor,
    backend: Backend,
    precision: Precision,
    *,
    seconds: float = 20.0,
    report: Callable[[str], None] = lambda _: None,
) -> list[NetworkTiming]:
    """Time networks in turns; the first network's ratio is 1.

    Args:
        networks: networks by name.
        images: one batch `(N, channels, *spatial)` on the device to time.
        backend: inference backend.
        precision: precision of convolutions.
        seconds: most seconds of measuring, warm-up not included.
        report: called with a line about each phase.

    Raises:
        UserError: when the backend is missing, or does not support the device or precision.
    """
    sessions: dict[str, Session] = {}
    for name, network in networks.items():
        report(f"{backend}: preparing {name}")
        sessions[name] = open_session(network, images, backend, precision)
    report(f"{backend}: timing {len(sessions)} networks")
    timings = time_interleaved({name: each.call for name, each in sessions.items()}, images.device, seconds=seconds)
    common = {"backend": backend, "precision": precision}
    return [
        _row(networks[name], timing, images, {"network": name, "layout": sessions[name].layout, **common})
        for name, timing in timings.items()
    ]


def saturating_batch(network: Model, image: Tensor, backend: Backend, precision: Precision) -> int:
    """Return the batch size from which on doubling gives no more images per second.

    Args:
        network: the network.
        image: `(1, channels, *spatial)` on the device to time.
        backend: inference backend.
        precision: precision of convolutions.
    """
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


def _row(network: Model, timing: Timing, images: Tensor, names: dict[str, Any]) -> NetworkTiming:
    size = tuple(images.shape[2:])
    complexity = count_complexity(network.architecture, size)
    return NetworkTiming(
        **names,
        batch=len(images),
        shape=_times(images.shape[1:]),
        parameters=complexity.parameters,
        macs=complexity.macs,
        ratio=timing.ratio.median,
        ratio_low=timing.ratio.low,
        ratio_high=timing.ratio.high,
        p50_ms=timing.p50,
        p90_ms=timing.p90,
        p99_ms=timing.p99,
        images_per_second=1000 * len(images) / timing.p50,
        tensor_bytes=inference_memory(network.architecture, size, len(images)),
        rounds=timing.rounds,
        noisy_ratio=timing.ratio.half_width > NOISY,
        noisy_time=timing.own.half_width > NOISY,
    )


def _times(edges: Sequence[int]) -> str:
    return "×".join(map(str, edges))
