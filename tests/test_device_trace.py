"""Idle time of a device in benchmarks."""

from __future__ import annotations

import math
from importlib import util
from pathlib import Path

import pytest

PATH = Path(__file__).parent / "perf" / "device_trace.py"


@pytest.mark.parametrize(
    ("intervals", "share"),
    [
        ([(0, 4), (4, 10)], 0.0),
        ([(6, 10), (0, 4)], 0.2),
        ([(0, 8), (1, 2), (6, 9), (9.5, 10)], 0.05),  # kernels on two streams overlap
        ([], math.nan),
    ],
)
def test_idle_share_is_what_no_kernel_covers(intervals: list[tuple[float, float]], share: float) -> None:
    spec = util.spec_from_file_location("device_trace", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.idle_share(intervals) == pytest.approx(share, nan_ok=True)
