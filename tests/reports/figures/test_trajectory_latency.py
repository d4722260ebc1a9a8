"""Latency along pruning: ratios, labels, and what the figure shows."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from stampbench.reports.figures.style import NothingToDrawError
from stampbench.reports.figures.trajectory_latency import divisible_share, latency_along_pruning, relative_latency
from stampbench.reports.looks import FAMILIES

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Timings = Callable[..., pd.DataFrame]
WIDTHS = ("16 32 16", "8 16 5", "3 8 2")


def checkpoints(timings: Timings, ratios: list[float], **changes: object) -> pd.DataFrame:
    """Return a session that timed three checkpoints of the run r0."""
    rows = timings(*[("r0", "eager", ratio) for ratio in ratios], **changes)
    return rows.assign(step=[0.0, 4.0, 9.0], parameters=[900, 90, 9])


@pytest.fixture
def records(frames: Frames) -> dict[str, pd.DataFrame]:
    runs, cases = frames({"strategy": "stamp_plus", "dice": {"a": 0.8}})
    steps = pd.DataFrame({"run": "r0", "step": [0, 4, 9], "parameters": [900, 90, 9], "widths": WIDTHS})
    return {"runs": runs, "cases": cases, "trajectories": steps}


def test_times_are_relative_to_the_unpruned_network_of_the_same_session(timings: Timings) -> None:
    """The first network of a session is another one, so that its first ratio is not 1."""
    cpu = checkpoints(timings, [2.0, 1.0, 0.5], measured="a")
    gpu = checkpoints(timings, [4.0, 4.0, 3.0], measured="b", device="cuda:0").assign(timing="kernels")
    found = relative_latency(pd.concat([cpu, gpu]))
    assert found.groupby("label", sort=False)["relative"].apply(list).to_dict() == {
        "CPU, eager fp32, wall": [1.0, 0.5, 0.25],
        "GPU, eager fp32, kernels": [1.0, 1.0, 0.75],
    }


def test_two_sessions_of_a_run_are_two_lines(records: dict[str, pd.DataFrame], timings: Timings) -> None:
    both = pd.concat([checkpoints(timings, [1.0, 0.5, 0.25], measured=name) for name in ("a", "b")])
    figure = latency_along_pruning(**records, timings=both)
    drawn = [list(line.get_xdata()) for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert drawn == [[900, 90, 9], [900, 90, 9]]


def test_models_are_named_where_several_gpus_were_timed(timings: Timings) -> None:
    sessions = [
        checkpoints(timings, [1.0, 0.5, 0.2], measured=model, device="cuda:0", processor=model, timing="wall")
        for model in ("A", "B")
    ]
    cpu = checkpoints(timings, [1.0, 0.5, 0.2], measured="c")
    labels = relative_latency(pd.concat([*sessions, cpu]))["label"].unique().tolist()
    assert labels == ["A, eager fp32, wall", "B, eager fp32, wall", "CPU, eager fp32, wall"]


def test_noisy_ratios_and_sessions_without_the_unpruned_network_are_left_out(timings: Timings) -> None:
    noisy = checkpoints(timings, [1.0, 0.5, 0.4]).assign(noisy_ratio=[False, True, False])
    assert relative_latency(noisy)["relative"].tolist() == [1.0, 0.4]
    baseless = checkpoints(timings, [1.0, 0.5, 0.4]).assign(noisy_ratio=[True, False, False])
    assert relative_latency(baseless).empty
    assert relative_latency(timings(("r0", "eager", 1.0))).empty  # a table from before there were checkpoints


@pytest.mark.parametrize(("widths", "share"), [("16 32 16", 1.0), ("8 16 5", 2 / 3), ("3 1 2", 0.0)])
def test_share_of_divisible_widths(widths: str, share: float) -> None:
    assert divisible_share(widths) == pytest.approx(share)


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cuda:0")])
def test_figure_has_a_grey_line_per_device_above_the_share(
    devices: tuple[str, ...], records: dict[str, pd.DataFrame], timings: Timings
) -> None:
    times = pd.concat(checkpoints(timings, [1.0, 0.9, 0.8], measured=each, device=each) for each in devices)
    above, below = latency_along_pruning(**records, timings=times).axes
    lines = [line for line in above.lines if len(line.get_xdata()) == 3]
    assert [line.get_label().split(",")[0] for line in lines] == ["CPU", "GPU"][: len(devices)]
    assert not {to_hex(line.get_color()).upper() for line in lines} & {family.colour for family in FAMILIES}
    (share,) = below.lines
    assert share.get_ydata().tolist() == pytest.approx([1.0, 2 / 3, 1 / 3])
    assert to_hex(share.get_color()).upper() in {family.colour for family in FAMILIES}
    assert above.get_xlim() == below.get_xlim()
    assert above.xaxis_inverted()


def test_networks_that_were_never_pruned_are_points_beside_trajectories(frames: Frames, timings: Timings) -> None:
    """As in the suite latency_trajectories: their times are relative to the unpruned network of the same session."""
    names = ("stamp", "random_largest", "stamp_plus (cost=latency)", "flat (f=8)", "swift")
    runs, cases = frames(*({"strategy": name, "dice": {"a": 0.8}} for name in names))
    steps, rows = [], []
    for number in range(len(names)):
        pruned = number < 3
        start = (1.6, 2.5, 2.0, 0.5, 0.5)[number]
        for step, parameters, ratio in [(0, 900, start), (4, 90, 1.0)] if pruned else [(0, 100 + number, start)]:
            steps.append({"run": f"r{number}", "step": step, "parameters": parameters, "widths": "16 5"})
            rows.append(timings((f"r{number}", "eager", ratio)).assign(step=step, parameters=parameters))
    times = pd.concat(rows)
    for order in (times, times.iloc[::-1]):
        found = relative_latency(order).groupby("run")["relative"].apply(list).to_dict()
        assert found == {"r0": [1.0, 0.625], "r1": [1.0, 0.4], "r2": [1.0, 0.5], "r3": [0.25], "r4": [0.25]}
    figure = latency_along_pruning(runs, pd.DataFrame(steps), times, cases=cases)
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes]
    assert all(any(name in title for title in titles) for name in names)
    points = [line for axes in figure.axes for line in axes.get_lines() if list(line.get_xdata()) in ([103], [104])]
    assert len(points) == 4  # latency and share of widths, of both
    assert all(line.get_marker() not in ("", "None") for line in points)
    alone = times[times["run"].isin(["r3", "r4"])]
    assert relative_latency(alone).empty  # nothing to compare them with


def test_without_timed_checkpoints_nothing_is_drawn(records: dict[str, pd.DataFrame], timings: Timings) -> None:
    with pytest.raises(NothingToDrawError, match="no latencies of trajectories are recorded") as refused:
        latency_along_pruning(**records, timings=timings(("r0", "eager", 1.0)))
    assert refused.value.setting == "record"
