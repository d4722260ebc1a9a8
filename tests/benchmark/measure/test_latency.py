"""Timing of networks: noise, machines and the saturating batch."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.measure import interleaved_timing, latency
from stampbench.benchmark.measure.latency import saturating_batch, time_networks
from stampbench.models.model import Model
from stampbench.reports.latency import MixedMachinesError, latency_tables

MACHINE = {"processor": "one", "device": "cpu", "driver": "", "clock": "1 MHz", "threads": 1, "torch": "2"}


def test_noisy_numbers_are_not_printed(network: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    durations = itertools.cycle([1.0, 9.0, 2.0, 30.0, 4.0])
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: next(durations))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.0)
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
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: next(rounds))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.0)
    assert [row.noisy_time for row in rows] == [True, True]
    assert [row.noisy_ratio for row in rows] == [False, False]
    assert rows[1].ratio == 1.0


def test_timings_of_different_machines_are_not_mixed(network: Model) -> None:
    (row,) = time_networks({"a": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.1)
    rows = [row.model_dump() | MACHINE, row.model_dump() | MACHINE | {"threads": 2}]
    with pytest.raises(MixedMachinesError, match="threads: 1, 2"):
        latency_tables(pd.DataFrame(rows))


def test_saturating_batch_is_the_last_one_that_raises_throughput(
    network: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulated device takes 1 ms for every four images or part of them."""
    batches: list[int] = []

    def open_fake_session(model: Model, images: torch.Tensor, *_: object) -> Any:
        batches.append(len(images))
        return type("FakeSession", (), {"call": staticmethod(lambda: None)})

    monkeypatch.setattr(latency, "open_session", open_fake_session)
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: float(-(-batches[-1] // 4)))
    assert saturating_batch(network, torch.zeros(1, 1, 16, 16), "eager", "fp32") == 4
    assert batches == [1, 2, 4, 8]
