"""Interleaved timing: intervals, ratios, and torch.utils.benchmark as the reference."""

from __future__ import annotations

import gc
import itertools
import time

import pytest
import torch
from torch.utils.benchmark import Timer

from stampbench.benchmark.environment.nvml import GpuState
from stampbench.benchmark.measure.backends import open_session
from stampbench.benchmark.measure.interleaved_timing import median_interval, time_interleaved
from stampbench.benchmark.measure.stopwatch import Call, stopwatch_for
from stampbench.models.model import Model

CPU = torch.device("cpu")


@pytest.mark.parametrize(("count", "low", "high"), [(15, 4, 12), (20, 6, 15), (50, 18, 33)])
def test_interval_of_the_median_equals_tables_of_the_sign_test(count: int, low: int, high: int) -> None:
    """The order statistics that enclose the median with at least 95 % (Conover 1999, table of the binomial)."""
    interval = median_interval([float(value) for value in range(1, count + 1)])
    assert interval == ((count + 1) / 2, low, high)


def test_call_that_takes_twice_as_long_has_a_ratio_of_two() -> None:
    calls = {"short": lambda: time.sleep(0.004), "long": lambda: time.sleep(0.008)}
    timings = time_interleaved(calls, stopwatch_for("wall", CPU), seconds=1.0).timings
    assert timings["long"].ratio.median == pytest.approx(2.0, rel=0.1)
    assert timings["short"].ratio == (1.0, 1.0, 1.0)
    assert timings["short"].p50 == pytest.approx(4.0, rel=0.15)
    assert timings["short"].p50 <= timings["short"].p90 <= timings["short"].p99


def test_times_agree_with_torch_benchmark_within_five_percent(network: Model) -> None:
    """Both time the same call in turns; a machine that is busy with other work gets six tries.

    The timer of PyTorch collects no garbage meanwhile, so that nothing else may either.
    """
    call = open_session(network, torch.randn(4, 1, 64, 64), "eager", "fp32").call
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    call()

    def ratio() -> float:
        call()  # what runs between two timings leaves the caches cold
        own = stopwatch_for("wall", CPU)(call, 1)
        call()
        return own / (1000 * timer.timeit(1).median)

    medians: list[float] = []
    gc.disable()
    try:
        while len(medians) < 6 and (not medians or abs(medians[-1] - 1) > 0.05):
            medians.append(sorted(ratio() for _ in range(300))[150])
    finally:
        gc.enable()
    assert medians[-1] == pytest.approx(1, abs=0.05), medians


def test_throttled_rounds_are_discarded_and_counted() -> None:
    """The simulated GPU throttles in every third round, in which the second network takes three times as long."""
    state, rounds = GpuState(1500.0, 60.0, 300.0, ()), itertools.count()
    slow = False

    def read_state() -> GpuState:
        nonlocal slow
        now, slow = slow, next(rounds) % 3 == 1
        return state._replace(throttling=("power cap",)) if now else state

    def stopwatch(call: Call, calls: int) -> float:
        call()
        return calls * (2.0 if current == "first" else 12.0 if slow else 4.0)

    current = ""

    def named(name: str) -> Call:
        def call() -> None:
            nonlocal current
            current = name

        return call

    calls = {name: named(name) for name in ("first", "second")}
    times = time_interleaved(calls, stopwatch, seconds=10.0, read_state=read_state)
    assert not times.throttled
    assert times.discarded == sum(each.throttled for each in times.rounds) == 7
    assert times.timings["second"].rounds == len(times.rounds) - 7 == 16
    assert times.timings["second"].ratio == (2.0, 2.0, 2.0)
    assert {each.milliseconds["second"] for each in times.rounds} == {4.0, 12.0}


def test_gpu_that_always_throttles_gives_marked_times() -> None:
    state = GpuState(900.0, 90.0, 300.0, ("thermal slowdown by hardware",))
    times = time_interleaved(
        {"one": lambda: None}, lambda call, calls: 2.0 * calls, seconds=0.0, read_state=lambda: state
    )
    assert times.throttled
    assert (times.discarded, times.timings["one"].rounds, len(times.rounds)) == (0, 18, 18)


def test_ratios_are_per_image_where_batches_differ() -> None:
    def stopwatch(call: Call, calls: int) -> float:
        return float(call()) * calls  # type: ignore[arg-type]

    calls = {"first": lambda: 2.0, "second": lambda: 3.0}
    times = time_interleaved(calls, stopwatch, seconds=0.0, images={"first": 4, "second": 8})
    assert times.timings["second"].ratio.median == 0.75
    assert times.timings["second"].p50 == 3.0
