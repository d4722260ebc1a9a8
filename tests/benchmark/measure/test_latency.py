"""Timing of networks: noise, machines and the saturating batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.environment.nvml import GpuState
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure import interleaved_timing, latency
from stampbench.benchmark.measure.latency import Cell, default_timings, saturating_batch, time_networks
from stampbench.benchmark.measure.session import Session
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Model, build
from stampbench.reports.latency import MixedMachinesError, latency_tables, timing_names

MACHINE = {
    "processor": "one", "device": "cpu", "driver": "", "clock": "1 MHz", "threads": 1, "torch": "2", "measured": "now",
}  # fmt: skip


def set_times(monkeypatch: pytest.MonkeyPatch, milliseconds: Callable[[], float]) -> None:
    """Let every stopwatch return these milliseconds per sample."""
    monkeypatch.setattr(latency, "stopwatch_for", lambda *_: lambda call, calls: milliseconds())
    monkeypatch.setattr(interleaved_timing, "calls_per_sample", lambda *_: 1)


def test_noisy_numbers_are_not_printed(network: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    durations = itertools.cycle([1.0, 9.0, 2.0, 30.0, 4.0])
    set_times(monkeypatch, lambda: next(durations))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), Cell(), seconds=0.0).rows
    assert rows[1].noisy_ratio
    table = latency_tables(pd.DataFrame([row.model_dump() | MACHINE for row in rows]))
    for name, row in zip("ab", rows, strict=True):
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} "))
        assert line.count("too noisy") == (1 if name == "a" else 2)  # the ratio of a to itself is 1
        assert f"{row.p50_ms:.2f}" not in line
        assert name == "a" or f"{row.ratio:.2f}" not in line


def test_noise_shared_by_all_networks_makes_times_noisy_but_not_ratios(
    network: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = itertools.cycle(value for value in (1.0, 30.0, 2.0, 9.0, 50.0) for _ in range(2))
    set_times(monkeypatch, lambda: next(rounds))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), Cell(), seconds=0.0).rows
    assert [row.noisy_time for row in rows] == [True, True]
    assert [row.noisy_ratio for row in rows] == [False, False]
    assert rows[1].ratio == 1.0


def test_timings_of_different_machines_are_not_mixed(network: Model) -> None:
    (row,) = time_networks({"a": network}, torch.randn(1, 1, 16, 16), Cell(), seconds=0.1).rows
    rows = [row.model_dump() | MACHINE, row.model_dump() | MACHINE | {"threads": 2}]
    with pytest.raises(MixedMachinesError, match="threads: 1, 2"):
        latency_tables(pd.DataFrame(rows))


def test_a_table_without_the_reference_of_its_ratios_names_it(network: Model) -> None:
    (row,) = time_networks({"standard": network}, torch.randn(1, 1, 16, 16), Cell(), seconds=0.1).rows
    first, second = row.model_dump() | MACHINE, row.model_dump() | MACHINE | {"network": "pruned", "ratio": 0.5}
    table = latency_tables(pd.DataFrame([first, second, second | {"network": "int8", "precision": "int8"}]))
    (one, _, other, *_) = (part for part in table.split("\n\n") if part)
    assert "relative to" not in one
    assert other == "**eager**, int8, batch 1 of 1×16×16, channels-first, relative to standard in fp32"
    assert [part.count("× first") for part in table.split(other)] == [1, 0]


def test_timings_of_cuda_events_are_no_timings_of_the_wall_clock(network: Model) -> None:
    """Rows from before the column `timing`, beside those of today."""
    (row,) = time_networks({"a": network}, torch.randn(1, 1, 16, 16), Cell(), seconds=0.1).rows
    cuda = row.model_dump() | MACHINE | {"device": "cuda:0"}
    older = cuda | {"timing": None, "measured": "then"}
    table = latency_tables(pd.DataFrame([cuda, older]))
    assert "channels-first, wall clock with synchronisation\n" in table
    assert "channels-first, between two CUDA events\n" in table
    assert list(timing_names(pd.DataFrame([older]).drop(columns="timing"))) == ["events"]
    assert list(timing_names(pd.DataFrame([row.model_dump() | MACHINE]).drop(columns="timing"))) == ["wall"]


def test_saturating_batch_is_the_last_one_that_raises_throughput(
    network: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated device takes 1 ms for every four images or part of them."""
    batches: list[int] = []

    def open_fake_session(model: Model, images: torch.Tensor, *_: object) -> Any:
        batches.append(len(images))
        return type("FakeSession", (), {"call": staticmethod(lambda: None)})

    monkeypatch.setattr(latency, "open_session", open_fake_session)
    set_times(monkeypatch, lambda: float(-(-batches[-1] // 4)))
    assert saturating_batch(network, torch.zeros(1, 1, 16, 16), "eager", "fp32") == 4
    assert batches == [1, 2, 4, 8]


def test_throughput_has_the_batch_of_each_network_and_ratios_per_image(
    network: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated device needs a millisecond per four images of the first network, per eight of the second."""
    other = build(UNetArchitecture.doubling(2, 1, 2, f=1, depth=2)).eval()

    def open_fake_session(model: Model, images: torch.Tensor, *_: object) -> Session:
        most = 4 if model is network else 8
        return Session(lambda: float(-(-len(images) // most)), "any", 1000 * len(images))

    monkeypatch.setattr(latency, "open_session", open_fake_session)
    monkeypatch.setattr(latency, "stopwatch_for", lambda *_: lambda call, calls: call() * calls)
    cell = Cell("eager", "fp32", None, "throughput")
    first, second = time_networks({"a": network, "b": other}, torch.zeros(1, 1, 16, 16), cell, seconds=0.0).rows
    assert [first.batch, second.batch] == [4, 8]
    assert [first.images_per_second, second.images_per_second] == [4000, 8000]
    assert [first.ratio, second.ratio] == [1, 0.5]
    assert [first.allocated_bytes, second.allocated_bytes] == [4000, 8000]
    table = latency_tables(pd.DataFrame([row.model_dump() | MACHINE for row in (first, second)]))
    assert "**eager**, fp32, saturated throughput of images of 1×16×16, any" in table
    assert "| batch " in table or "batch |" in table
    assert "allocated [MB]" in table


def test_kernels_need_cuda_graphs(network: Model) -> None:
    cell = Cell("eager", "fp32", 1, "kernels")
    with pytest.raises(UserError, match="timing 'kernels' replays a CUDA graph, which backend 'eager' has not"):
        time_networks({"a": network}, torch.zeros(1, 1, 16, 16), cell)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert default_timings(cuda, "cudagraph") == ["wall", "kernels", "throughput"]
    assert default_timings(cuda, "eager") == ["wall", "throughput"]
    assert default_timings(cpu, "eager") == ["wall"]


def test_state_of_the_gpu_is_summarised_without_discarded_rounds(
    network: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()

    def read_state() -> GpuState:
        number = next(numbers)
        return GpuState(1900.0 - number, 40.0 + number, None, ("power cap",) if number == 2 else ())

    set_times(monkeypatch, lambda: 2.0)
    monkeypatch.setattr(latency, "state_reader", lambda device: read_state)
    timed = time_networks({"a": network}, torch.zeros(1, 1, 16, 16), Cell(), seconds=0.0)
    (row,) = timed.rows
    assert len(timed.rounds) == 7
    assert (row.rounds, row.discarded, row.throttling) == (6, 1, "power cap")
    assert (row.sm_mhz, row.celsius, row.watts) == (1896.5, 46.0, None)
    table = latency_tables(pd.DataFrame([row.model_dump() | MACHINE | {"measured": "now"}]))
    assert "; SM clock 1896 to 1896 MHz, up to 46 °C, 1 throttled rounds discarded." in table
