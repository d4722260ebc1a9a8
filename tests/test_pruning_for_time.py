"""The page about pruning for time: its times and its explanation are those of its published runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stampbench.benchmark.records.tables import Records, read_records
from stampbench.reports.speed import speeds

PUBLISHED = Path(__file__).parent.parent / "leaderboards"
TEXT = (PUBLISHED / "pruning_for_time.md").read_text()
PRUNED = "stamp_plus (cost=latency)"


@pytest.fixture(scope="module")
def records() -> Records:
    return read_records(PUBLISHED / "pruning_for_time", [])


def test_times_are_those_of_the_published_timings(records: Records) -> None:
    checked = 0
    for dataset, table in zip(
        ("dsb2018", "hippocampus"), re.findall(r"^\| network .*?\n\n", TEXT, re.DOTALL | re.MULTILINE), strict=True
    ):
        runs = records.runs[records.runs["dataset"] == dataset]
        timings = records.timings[records.timings["run"].isin(runs["run"])]
        for line in table.strip().splitlines()[2:]:
            name, networks, parameters, *cells = (each.strip(" `") for each in line.strip("|").split("|"))
            timed = runs[runs["run"].isin(timings["run"]) & (runs["strategy"] == name)]
            assert (networks, parameters) == (str(len(timed)), f"{timed['parameters'].mean():,.0f}")
            for backend, cell in zip(("onnxruntime", "openvino"), cells, strict=True):
                found = speeds(runs, timings, backend)
                low, high = found.intervals[name]
                wanted = f"{found.ratios[name]:.2f} ({low:.2f} to {high:.2f})"
                assert re.sub(r"\b0\.", ".", wanted) == cell, (dataset, name, backend)
                checked += 1
    assert checked == 12


def test_the_first_convolutions_have_one_filter_after_three_pruning_steps(records: Records) -> None:
    runs = records.runs[records.runs["strategy"] == PRUNED].set_index("run")
    steps = records.trajectories[records.trajectories["run"].isin(runs.index) & (records.trajectories["step"] == 3)]
    assert len(steps) == len(runs) == 20
    for run, widths in zip(steps["run"], steps["widths"], strict=True):
        narrow = 4 if runs.loc[run, "dataset"] == "hippocampus" else 1
        assert widths.split()[:narrow] == ["1"] * narrow
    for dataset in ("dsb2018", "hippocampus"):
        own = runs.loc[runs["dataset"] == dataset, "parameters"]
        assert f"{own.min():,} to {own.max():,}" in TEXT


def test_other_arms_are_the_runs_of_the_main_board(records: Records) -> None:
    board = read_records(PUBLISHED / "main_board", [], trajectories=False).runs.set_index("run")
    others = records.runs[records.runs["strategy"] != PRUNED].set_index("run")
    assert len(others) == 60
    for column in ("dataset", "training_set", "strategy", "test_dice", "parameters"):
        assert (board.loc[others.index, column] == others[column]).all(), column
