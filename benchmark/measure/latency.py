"""Latency of networks, compared by interleaved timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stampbench.benchmark.environment.nvml import GpuState, state_reader
from stampbench.benchmark.environment.precision import Precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.backends import Backend, check_backend, open_session
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.interleaved_timing import InterleavedTimes, Round, Timing, time_interleaved
from stampbench.benchmark.measure.latency_row import NetworkTiming, TimingName
from stampbench.benchmark.measure.memory import inference_memory, out_of_memory
from stampbench.benchmark.measure.session import Session
from stampbench.benchmark.measure.stopwatch import stopwatch_for
from stampbench.models.model import Model

NOISY = 0.10
"""Relative half width of an interval from which on a number is not printed."""
_SATURATED = 1.05
"""Factor of images per second by which doubling the batch has to pay."""
_LARGEST_BATCH = {"cpu": 64, "mps": 64, "cuda": 1024}
_MOST_BYTES = 4 * 2**30
"""Most bytes of tensors of a batch that is tried on a CPU; on a GPU half of its free memory."""
_SEARCH_SECONDS = {"cpu": 2.0, "mps": 2.0, "cuda": 0.3}
"""Most seconds of timing each batch size that is tried; a GPU computes many batches in this time."""


class Cell(NamedTuple):
    """What a table of timings has in common.

    Attributes:
        backend: inference backend.
        precision: precision of convolutions.
        batch: images per batch; None: the saturating batch of the first network. `throughput` does not read it: each
            network has its own saturating batch.
        timing: what is timed.
    """

    backend: Backend = "eager"
    precision: Precision = "fp32"
    batch: int | None = 1
    timing: TimingName = "wall"


class TimedNetworks(NamedTuple):
    """Rows of a table, and the rounds that they come from."""

    rows: list[NetworkTiming]
    rounds: list[Round]


def check_cell(device: torch.device, cell: Cell) -> None:
    """Check that networks can be timed in this way on a device.

    Raises:
        UserError: when they cannot.
    """
    check_backend(device, cell.backend, cell.precision)
    if cell.timing == "kernels" and cell.backend != "cudagraph":
        raise UserError(
            f"timing 'kernels' replays a CUDA graph, which backend '{cell.backend}' has not; use 'cudagraph', or 'wall'"
        )


def default_timings(device: torch.device, backend: Backend) -> list[TimingName]:
    """Return the timings of a backend: on a GPU all that it has, elsewhere the wall clock."""
    if device.type != "cuda":
        return ["wall"]
    return ["wall", "kernels", "throughput"] if backend == "cudagraph" else ["wall", "throughput"]


def time_networks(
    networks: Mapping[str, Model],
    image: Tensor,
    cell: Cell,
    *,
    own_precisions: Mapping[str, Precision] = {},
    seconds: float = 20.0,
    report: Callable[[str], None] = lambda _: None,
) -> TimedNetworks:
    """Time networks in turns; the first network's ratio is 1.

    Args:
        networks: networks by name.
        image: one image `(1, channels, *spatial)` on the device to time.
        cell: how they are timed.
        own_precisions: precisions of networks that have another one than `cell`, by name.
        seconds: most seconds of measuring, without warm-up and the search for saturating batches.
        report: called with a line about each phase.

    Raises:
        UserError: when the backend is missing, or does not support the device, precision or timing.
    """
    check_cell(image.device, cell)
    title = f"{cell.backend}, {cell.precision}, {cell.timing}"
    cells = {name: cell._replace(precision=own_precisions.get(name, cell.precision)) for name in networks}
    batches = _batches(networks, image, cells, seconds, report)
    sessions: dict[str, Session] = {}
    for name, network in networks.items():
        report(f"{title}: preparing {name}")
        sessions[name] = open_session(network, repeated(image, batches[name]), cell.backend, cells[name].precision)
    report(f"{title}: timing {len(sessions)} networks")
    times = time_interleaved(
        {name: each.call for name, each in sessions.items()},
        stopwatch_for(cell.timing, image.device),
        seconds=seconds,
        images=batches,
        read_state=state_reader(image.device),
    )
    rows = [
        _row(name, networks[name], repeated(image, batches[name]), cells[name], sessions[name], times)
        for name in networks
    ]
    return TimedNetworks(rows, times.rounds)


def saturating_batch(
    network: Model, image: Tensor, backend: Backend, precision: Precision, *, networks: int = 1, seconds: float = 2.0
) -> int:
    """Return the batch size from which on doubling gives no more images per second.

    Args:
        network: the network.
        image: `(1, channels, *spatial)` on the device to time.
        backend: inference backend.
        precision: precision of convolutions.
        networks: number of networks that will share the memory of a GPU.
        seconds: most seconds of timing each batch size.
    """
    kind = image.device.type
    if kind == "cuda":
        torch.cuda.empty_cache()  # what the search for another network's batch left behind counts as used
    most_bytes = torch.cuda.mem_get_info(image.device)[0] // (2 * networks) if kind == "cuda" else _MOST_BYTES
    stopwatch, seconds = stopwatch_for("throughput", image.device), min(seconds, _SEARCH_SECONDS[kind])
    batch, throughput = 1, 0.0
    while batch <= _LARGEST_BATCH[kind]:
        if inference_memory(network.architecture, tuple(image.shape[2:]), batch) > most_bytes:
            break
        try:
            call = open_session(network, repeated(image, batch), backend, precision).call
            timing = time_interleaved({"one": call}, stopwatch, seconds=seconds).timings["one"]
        except Exception as error:  # every runtime has its own
            if not out_of_memory(error):
                raise
            break
        now = batch / timing.p50
        if now < _SATURATED * throughput:
            return batch // 2
        batch, throughput = 2 * batch, now
    return max(batch // 2, 1)


def repeated(image: Tensor, batch: int) -> Tensor:
    """Return a batch `(batch, channels, *spatial)` of the same image `(1, channels, *spatial)`."""
    return image.repeat(batch, *[1] * (image.ndim - 1))


def _batches(
    networks: Mapping[str, Model],
    image: Tensor,
    cells: Mapping[str, Cell],
    seconds: float,
    report: Callable[[str], None],
) -> dict[str, int]:
    """Return the batch size of each network.

    Args:
        networks: networks by name.
        image: one image.
        cells: how each is timed; they differ in precision at most.
        seconds: most seconds of timing a batch size that is tried.
        report: called with a line about each search.
    """
    found: dict[str, int] = {}
    for name, network in networks.items():
        cell = cells[name]
        if cell.timing != "throughput" and cell.batch is not None:
            return dict.fromkeys(networks, cell.batch)
        if found and cell.timing != "throughput":
            return dict.fromkeys(networks, next(iter(found.values())))
        report(f"{cell.backend}, {cell.precision}, {cell.timing}: looking for the saturating batch of {name}")
        found[name] = saturating_batch(
            network, image, cell.backend, cell.precision, networks=len(networks), seconds=seconds
        )
    return found


def _row(
    name: str, network: Model, images: Tensor, cell: Cell, session: Session, times: InterleavedTimes
) -> NetworkTiming:
    """Return the row of a network.

    Args:
        name: its name.
        network: the network.
        images: the batch that was timed.
        cell: how it was timed.
        session: what was called.
        times: times of all networks.
    """
    timing: Timing = times.timings[name]
    size = tuple(images.shape[2:])
    complexity = count_complexity(network.architecture, size)
    states = [each.state for each in times.rounds if each.state is not None and (times.throttled or not each.throttled)]
    return NetworkTiming(
        network=name,
        backend=cell.backend,
        precision=cell.precision,
        layout=session.layout,
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
        noisy_ratio=times.throttled or timing.ratio.half_width > NOISY,
        noisy_time=times.throttled or timing.own.half_width > NOISY,
        timing=cell.timing,
        calls=timing.calls,
        allocated_bytes=session.allocated,
        file_bytes=session.file_bytes,
        discarded=times.discarded,
        throttling="; ".join(sorted({name for each in times.rounds for name in _reasons(each)})),
        sm_mhz=_middle(states, "sm_mhz", 50),
        celsius=_middle(states, "celsius", 100),
        watts=_middle(states, "watts", 50),
    )


def _reasons(each: Round) -> tuple[str, ...]:
    return () if each.state is None else each.state.throttling


def _middle(states: Sequence[GpuState], name: str, percent: int) -> float | None:
    """Return a percentile of what the GPU reported; None: it did not report it."""
    values = [value for each in states if (value := getattr(each, name)) is not None]
    return float(np.percentile(values, percent)) if values else None


def _times(edges: Sequence[int]) -> str:
    return "×".join(map(str, edges))
