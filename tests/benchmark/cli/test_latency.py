"""The command `stampbench latency`, for untrained strategies and for recorded runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.cli.latency import _configure
from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process

Command = Callable[..., tuple[int, str, str]]


def test_untrained_strategies_are_timed_against_the_standard(stampbench: Command) -> None:
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


def test_cudnn_times_the_convolutions_of_timed_networks_unless_algorithms_are_deterministic() -> None:
    try:
        for deterministic in (True, False):
            _configure(ComputeSettings(device="cpu", allocator="system", deterministic=deterministic))
            assert torch.backends.cudnn.benchmark != deterministic
    finally:
        configure_process(ComputeSettings(device="cpu"))


def test_timings_are_recorded_and_shown_in_the_leaderboard(copied_runs: Any, stampbench: Command) -> None:
    runs = copied_runs.table().query("fold == 0").drop_duplicates("strategy")
    chosen = runs[runs["name"].isin(["standard", "stamp_plus"])]
    words = [
        "latency", *chosen["run"], "--runs", copied_runs.runs, "--backend", "eager", "--seconds", "1", "--threads", "1",
    ]  # fmt: skip
    code, _, err = stampbench(*words, "--record")
    assert code == 0, err
    (file,) = (copied_runs.runs / "timings").glob("*.csv")
    timings = pd.read_csv(file)
    assert set(timings["run"]) == set(chosen["run"])
    timings.assign(noisy_ratio=False).to_csv(file, index=False)  # this machine may be too noisy to show ratios
    code, out, _ = stampbench("leaderboard", "--runs", copied_runs.runs, "--format", "json")
    (board,) = json.loads(out)["boards"]
    ratios = {row["strategy"]: row["latency_ratio"] for row in board["rows"]}
    assert ratios[copied_runs.label("standard")] == 1
    assert sum(ratio is not None for ratio in ratios.values()) == len(chosen)
    assert any("eager backend, one image, interleaved timing" in note for note in board["notes"])
    assert stampbench("figure", "latency-by-backend", "--runs", copied_runs.runs)[0] == 0
    file.unlink()
    file.parent.rmdir()
    file.parent.touch()  # nothing can be written there, not even with all rights
    code, _, err = stampbench(*words[:2], *words[-8:], "--seconds", "0.1", "--record")
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, line.startswith(f"error: cannot write {file.parent}"), "Traceback" in err) == (2, True, False)
    code, _, err = stampbench(*words, "--record", "--shape", "16,16,16")
    assert (code, "--record keeps timings of networks at their own size" in err) == (2, True)


def test_trajectories_are_timed_recorded_and_drawn(copied_runs: Any, stampbench: Command) -> None:
    (run,) = copied_runs.table().query("fold == 0 and name == 'stamp_plus'")["run"].iloc[:1]
    words = [
        "--runs",
        copied_runs.runs,
        "--backend",
        "eager",
        "--seconds",
        "0.2",
        "--threads",
        "1",
        "--trajectory",
        "3",
    ]
    code, _, err = stampbench("latency", run, *words, "--record", "--rounds", "rounds.csv")
    assert code == 0, err
    (file,) = (copied_runs.runs / "timings").glob("*.csv")
    timings = pd.read_csv(file)
    assert (timings["run"] == run).all()
    assert timings["step"].tolist() == sorted(set(timings["step"]))
    assert len(timings) == 3
    rounds = pd.read_csv("rounds.csv")
    assert (rounds.groupby("network")["ms"].median().sort_index().to_numpy() == pytest.approx(
        timings.sort_values("network")["p50_ms"].to_numpy()
    ))  # fmt: skip
    timings.assign(noisy_ratio=False).to_csv(file, index=False)
    code, _, err = stampbench("figure", "latency-along-pruning", "--runs", copied_runs.runs)
    assert code == 0, err
    code, out, _ = stampbench("leaderboard", "--runs", copied_runs.runs, "--format", "json")
    assert code == 0
    assert all(row["latency_ratio"] is None for row in json.loads(out)["boards"][0]["rows"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to time"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--timing", "wal"], "did you mean 'wall'"),
        (
            ["--strategy", "standard", "--dataset", "phantom2d", "--timing", "kernels", "--device", "cpu"],
            "use 'cudagraph'",
        ),
        (
            ["--strategy", "standard", "--dataset", "phantom2d", "--backend", "cudagraph", "--device", "cpu"],
            "CUDA device",
        ),
        (["--strategy", "standard"], "--strategy needs --dataset"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--seconds", "-5"], "-5.0 is not in the range"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--seconds", "nan"], "--seconds 'nan'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--trajectory", "5"], "--trajectory needs runs"),
        (["somerun", "--set", "f=8"], "--set needs --strategy"),
        (["nosuchrun"], "no runs at runs: the folder does not exist; see --runs"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--backend", "onxruntime"], "did you mean 'onnxruntime'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--precision", "fp8"], "unknown precision 'fp8'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--batch", "1, 0"], "--batch '0'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "48,64,48"], "2 numbers"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "40,40"], "multiples of 16, not 40"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "640000,640000"], "needs more memory"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--shape", "6400000,64"], "1 to 1,000,000 voxels"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--batch", "9" * 20], "neither 1 to 1,000,000,000"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--columns", "p50"], "did you mean 'p50_ms'"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--record"], "none is to be timed"),
        (["--strategy", "standard", "--dataset", "phantom2d", "--output", "."], "'.' is a directory"),
    ],
)
def test_invalid_requests_are_refused_in_one_line(stampbench: Command, words: list[str], message: str) -> None:
    code, _, err = stampbench("latency", *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_batch_that_does_not_fit_into_memory_is_an_error(stampbench: Command) -> None:
    code, _, err = stampbench("latency", "--strategy", "standard", "--dataset", "phantom2d", "--batch", "100000000")
    assert code == 2
    assert err.splitlines()[-1] == (
        "error: a batch of 100,000,000 needs more memory than cpu has; choose smaller batches or images"
    )
