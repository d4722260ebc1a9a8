"""Interleaved timing: intervals, ratios, and torch.utils.benchmark as the reference."""

from __future__ import annotations

import gc
import time

import pytest
import torch
from torch.utils.benchmark import Timer

from stampbench.benchmark.measure import interleaved_timing
from stampbench.benchmark.measure.backends import open_session
from stampbench.benchmark.measure.interleaved_timing import median_interval, time_interleaved
from stampbench.models.model import Model

CPU = torch.device("cpu")


@pytest.mark.parametrize(("count", "low", "high"), [(15, 4, 12), (20, 6, 15), (50, 18, 33)])
def test_interval_of_the_median_equals_tables_of_the_sign_test(count: int, low: int, high: int) -> None:
    """The order statistics that enclose the median with at least 95 % (Conover 1999, table of the binomial)."""
    interval = median_interval([float(value) for value in range(1, count + 1)])
    assert interval == ((count + 1) / 2, low, high)


def test_call_that_takes_twice_as_long_has_a_ratio_of_two() -> None:
    calls = {"short": lambda: time.sleep(0.004), "long": lambda: time.sleep(0.008)}
    timings = time_interleaved(calls, CPU, seconds=1.0)
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
        own = interleaved_timing._stopwatch(CPU)(call)
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
