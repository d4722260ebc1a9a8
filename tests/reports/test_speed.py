"""Latency relative to the standard network: of one network of a strategy or of several, and which timings count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.speed import speeds
from stampbench.reports.table_formats import to_markdown

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Timings = Callable[..., pd.DataFrame]
RATIOS = (0.8, 0.9, 1.0, 0.7, 0.85)


@pytest.mark.parametrize("networks", [4, 5])
def test_from_five_networks_on_the_interval_is_over_networks(networks: int, frames: Frames, timings: Timings) -> None:
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


def test_quantised_networks_have_the_latency_of_their_precision(frames: Frames, timings: Timings) -> None:
    runs, cases = frames(
        {"strategy": "standard", "dice": {"a": 0.8}},
        {"strategy": "standard (int8)", "name": "quantised", "dice": {"a": 0.7}},
    )
    times = timings(("r0", "openvino", 1.0), ("r1", "openvino", 0.5))
    times["precision"] = ["fp32", "int8"]
    all_in_int8 = timings(("r0", "openvino", 1.0), ("r1", "openvino", 1.0), measured="two", precision="int8")
    (board,) = leaderboards(runs, cases, pd.concat([times, all_in_int8]))
    assert dict(board.rows.set_index("strategy")["latency_ratio"]) == {"standard": 1.0, "standard (int8)": 0.5}


def test_timings_of_two_machines_or_sessions_are_not_mixed(frames: Frames, timings: Timings) -> None:
    runs, cases = frames(
        {"strategy": "standard", "dice": {"a": 0.8}},
        {"strategy": "small", "dice": {"a": 0.7}},
        {"strategy": "other", "dice": {"a": 0.7}},
    )
    here = timings(("r0", "eager", 10.0), ("r1", "eager", 5.0), ("r2", "eager", 4.0))
    there = timings(("r0", "eager", 1.0), ("r1", "eager", 3.0), processor="another")
    (board,) = leaderboards(runs, cases, pd.concat([here, there]))
    assert dict(board.rows.set_index("strategy")["latency_ratio"]) == {"standard": 1.0, "small": 0.5, "other": 0.4}
    assert any("timings from other machines are skipped: another" in note for note in board.notes)
    later = timings(("r0", "eager", 30.0), ("r2", "eager", 30.0), measured="two")
    (board,) = leaderboards(runs, cases, pd.concat([here.iloc[:2], later]))
    assert dict(board.rows.set_index("strategy")["latency_ratio"]) == {"standard": 1.0, "small": 0.5, "other": 1.0}
    (board,) = leaderboards(runs, cases, timings(("r1", "eager", 5.0)))
    assert board.rows["latency_ratio"].isna().all(), "there is no ratio without timings of the standard network"
    assert "latency" not in to_markdown([board]).split("\n\n")[1]
