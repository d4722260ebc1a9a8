"""Timing: the statistics by hand, the method against torch.utils.benchmark, the command as a user meets it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.utils.benchmark import Timer

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure import interleaved_timing, latency
from stampbench.benchmark.measure.backends import open_session
from stampbench.benchmark.measure.interleaved_timing import median_interval, time_interleaved
from stampbench.benchmark.measure.latency import saturating_batch, time_networks
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.network import Network, build
from stampbench.reports.latency import MixedMachinesError, latency_tables

CPU = torch.device("cpu")


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build(UNetArchitecture.doubling(2, 1, 2, f=4, depth=2)).eval()


@pytest.mark.parametrize(("count", "low", "high"), [(15, 4, 12), (20, 6, 15), (50, 18, 33)])
def test_the_medians_interval_is_that_of_the_sign_tests_tables(count: int, low: int, high: int) -> None:
    """The order statistics that enclose the median with at least 95 % (Conover 1999, table of the binomial)."""
    interval = median_interval([float(value) for value in range(1, count + 1)])
    assert interval == ((count + 1) / 2, low, high)


def test_twice_as_slow_is_measured_as_twice_as_slow() -> None:
    calls = {"short": lambda: time.sleep(0.004), "long": lambda: time.sleep(0.008)}
    timings = time_interleaved(calls, CPU, seconds=1.0)
    assert timings["long"].ratio.median == pytest.approx(2.0, rel=0.1)
    assert timings["short"].ratio == (1.0, 1.0, 1.0)
    assert timings["short"].p50 == pytest.approx(4.0, rel=0.15)
    assert timings["short"].p50 <= timings["short"].p90 <= timings["short"].p99


def test_torchs_own_benchmark_agrees_within_five_percent(network: Network) -> None:
    """The same call in the same process, call by call in turns: the median of the ratios withstands a busy machine."""
    call = open_session(network, torch.randn(4, 1, 64, 64), "eager", "fp32").call
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    call()
    ratios = [interleaved_timing._stopwatch(CPU)(call) / (1000 * timer.timeit(1).median) for _ in range(400)]
    assert sorted(ratios)[200] == pytest.approx(1, abs=0.05)


def test_numbers_of_a_noisy_machine_are_not_printed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    durations = itertools.cycle([1.0, 9.0, 2.0, 30.0, 4.0])
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: next(durations))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.0)
    assert rows[1].noisy_ratio
    table = latency_tables(pd.DataFrame([row.model_dump() | MACHINE for row in rows]))
    for name, row in zip("ab", rows, strict=True):
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} "))
        assert line.count("too noisy") == (1 if name == "a" else 2)  # a's ratio to itself is 1
        assert f"{row.p50_ms:.2f}" not in line
        assert name == "a" or f"{row.ratio:.2f}" not in line


def test_noise_that_all_networks_share_is_noise_too(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratios stay sure; the times do not."""
    rounds = itertools.cycle(value for value in (1.0, 30.0, 2.0, 9.0, 50.0) for _ in range(2))
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: next(rounds))
    monkeypatch.setattr(interleaved_timing, "_warm_up", lambda *_: None)
    rows = time_networks({"a": network, "b": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.0)
    assert [row.noisy_time for row in rows] == [True, True]
    assert [row.noisy_ratio for row in rows] == [False, False]
    assert rows[1].ratio == 1.0


MACHINE = {"processor": "one", "device": "cpu", "driver": "", "clock": "1 MHz", "threads": 1, "torch": "2"}


def test_tables_refuse_to_mix_machines(network: Network) -> None:
    (row,) = time_networks({"a": network}, torch.randn(1, 1, 16, 16), "eager", "fp32", seconds=0.1)
    rows = [row.model_dump() | MACHINE, row.model_dump() | MACHINE | {"threads": 2}]
    with pytest.raises(MixedMachinesError, match="threads: 1, 2"):
        latency_tables(pd.DataFrame(rows))


def test_the_saturating_batch_is_where_throughput_stops_growing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that takes 1 ms for up to four images, and as long again for each four more."""
    seen: list[int] = []

    def fake(model: Network, images: torch.Tensor, *_: object) -> Any:
        seen.append(len(images))
        return type("Prepared", (), {"call": staticmethod(lambda: None)})

    monkeypatch.setattr(latency, "open_session", fake)
    monkeypatch.setattr(interleaved_timing, "_milliseconds", lambda call: float(-(-seen[-1] // 4)))
    assert saturating_batch(network, torch.zeros(1, 1, 16, 16), "eager", "fp32") == 4
    assert seen == [1, 2, 4, 8]


@pytest.mark.parametrize("backend", ["fast", "onnxruntime", "openvino"])
def test_backends_compute_the_same_network(network: Network, backend: Any) -> None:
    if backend != "fast":
        pytest.importorskip(backend)
        pytest.importorskip("onnxscript")
    images = torch.randn(2, 1, 16, 24)
    found = open_session(network, images, backend, "fp32").call()
    found = next(iter(found.values())) if backend == "openvino" else found  # type: ignore[attr-defined]
    torch.testing.assert_close(torch.as_tensor(found), network(images).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [("eager", "fp16", "needs a GPU"), ("onnxruntime", "bf16", "does not support precision 'bf16'")],
)
def test_what_a_backend_cannot_do_is_said(network: Network, backend: Any, precision: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_session(network, torch.randn(1, 1, 16, 16), backend, precision)


def test_untrained_strategies_are_compared_with_the_first(stampbench: Callable[..., Any], tmp_path: Path) -> None:
    code, out, _ = stampbench(
        "latency", "--strategy", "flat,standard", "--dataset", "phantom2d:size=16,cases=10", "--backend", "eager,fast",
        "--batch", "1,2", "--seconds", "0.3", "--output", "timings.csv",
    )  # fmt: skip
    assert code == 0
    assert out.count("| standard (untrained start) ") == 4
    rows = pd.read_csv("timings.csv")
    assert rows.groupby(["backend", "batch"]).size().tolist() == [2, 2, 2, 2]
    assert (rows[rows["network"].str.startswith("standard")]["ratio"] == 1).all()
    assert stampbench(
        "latency", "--strategy", "standard", "--set", "f=2", "--dataset", "phantom2d:size=16,cases=10", "--backend",
        "eager", "--seconds", "0.1", "--output", "narrow.csv",
    )[0] == 0  # fmt: skip
    wide = rows[rows["network"].str.startswith("standard")]["parameters"].iloc[0]
    assert 3.5 < wide / pd.read_csv("narrow.csv")["parameters"].iloc[0] < 4
    assert set(rows["layout"]) == {"channels-first", "channels-last"}
    assert {"processor", "threads", "torch", "clock", "p99_ms", "tensor_bytes"} <= set(rows.columns)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to time"),
        (["--strategy", "standard"], "--strategy needs --dataset"),
        (["nosuchrun"], "unknown run at runs 'nosuchrun'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--backend", "onxruntime"], "did you mean 'onnxruntime'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--precision", "fp8"], "unknown precision 'fp8'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--batch", "1, 0"], "--batch '0'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "48,64,48"], "2 numbers"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "40,40"], "multiples of 16, not 40"),
    ],
)
def test_bad_requests_are_one_line(stampbench: Callable[..., Any], words: list[str], message: str) -> None:
    code, _, err = stampbench("latency", *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
