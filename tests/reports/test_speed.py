"""Latency relative to the standard network, of one network of a strategy or of several."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stampbench.reports.speed import speeds

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
RATIOS = (0.8, 0.9, 1.0, 0.7, 0.85)


@pytest.mark.parametrize("networks", [4, 5])
def test_from_five_networks_on_the_interval_is_over_networks(
    networks: int, frames: Frames, timings: Callable[..., pd.DataFrame]
) -> None:
    """Every network is timed in a session of its own, beside a standard network that takes twice its first network."""
    runs, _ = frames(
        *(
            {"strategy": name, "training_set": number, "dice": {"a": 0.8}}
            for name in ("standard", "small")
            for number in range(5)
        )
    )
    rows = []
    for number, ratio in enumerate(RATIOS[:networks]):
        session = timings((f"r{number}", "fast", 2.0), (f"r{number + 5}", "fast", 2 * ratio), measured=str(number))
        rows.append(session.assign(ratio_low=session["ratio"] - 0.02, ratio_high=session["ratio"] + 0.04))
    found = speeds(runs, pd.concat(rows))
    ratios = np.array(RATIOS[:networks])
    if networks < 5:
        middle = float(np.median(ratios))
        expected = (middle, middle - 0.01, middle + 0.02)
    else:
        mean, half = ratios.mean(), stats.t.ppf(0.975, 4) * ratios.std(ddof=1) / np.sqrt(5)
        expected = (mean, mean - half, mean + half)
    assert (found.ratios["small"], *found.intervals["small"]) == pytest.approx(expected)
    assert found.ratios["standard"] == 1.0
