"""Speed of whole commands."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "stampbench.benchmark"]


def seconds_of(*arguments: str) -> tuple[float, float]:
    """Run a command; return its wall-clock seconds and CPU seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_list_is_fast(time_interleaved: Any, report: Any) -> None:
    times = time_interleaved({"list": lambda: seconds_of("list", "strategies")[1]})
    report("stampbench list strategies: CPU seconds", sorted(times.seconds["list"])[3], at_most=0.3)


def test_leaderboards_of_the_published_runs(time_interleaved: Any, report: Any) -> None:
    folder = str(Path(__file__).parents[2] / "leaderboards")
    times = time_interleaved({"leaderboard": lambda: seconds_of("leaderboard", "--runs", folder)[1]})
    report("leaderboards of 365 published runs: CPU seconds", sorted(times.seconds["leaderboard"])[3], at_most=1.5)


def test_first_step_on_a_cached_dataset(time_interleaved: Any, report: Any, tmp_path: Path) -> None:
    """A whole run of one short epoch is an upper bound of the time until the first step."""

    def run() -> float:
        return seconds_of(
            "run", "--strategy", "standard", "--dataset", "phantom2d", "--n-train", "10", "--folds", "0",
            "--protocol", "quick", "--protocol-set", "max_epochs=1", "--runs", str(tmp_path / str(time.time())),
        )[0]  # fmt: skip

    times = time_interleaved({"run": run})
    report("stampbench run, one epoch on a cached dataset, whole command: seconds", sorted(times.seconds["run"])[3],
           at_most=8.0)  # fmt: skip


def test_prediction_of_scans(time_interleaved: Any, report: Any, real_data: Path, tmp_path: Path) -> None:
    """As `stampbench predict RUN SCANS --threads 1 --time`; starting Python is part of the seconds."""
    store, scans = ["--runs", str(tmp_path / "runs")], real_data / "Task04_Hippocampus" / "imagesTr"
    seconds_of(
        "run", "--strategy", "standard", "--dataset", "hippocampus", "--n-train", "10", "--folds", "0", "--protocol",
        "quick", "--protocol-set", "max_epochs=1", "--data-root", str(real_data), *store,
    )  # fmt: skip
    (record,) = (tmp_path / "runs").rglob("run.json")
    words = ["predict", record.parent.name, *map(str, sorted(scans.glob("*.nii.gz"))[:20]), *store, "--threads", "1"]
    words += ["--output", str(tmp_path / "labels"), "--force"]
    times = time_interleaved({"predict": lambda: seconds_of(*words)[1]}, 5)
    done = subprocess.run([*COMMAND, *words, "--time"], check=True, capture_output=True, text=True)
    rows = [line.split() for line in done.stderr.splitlines() if line.endswith("%")]
    report("stampbench predict, 20 scans of the hippocampus: CPU seconds", median(times.seconds["predict"]),
           detail=", ".join(f"{row[0]} {row[-1]}" for row in rows[:-1]))  # fmt: skip


@pytest.mark.slow
def test_stamp_plus_on_hippocampus(
    time_interleaved: Callable[..., Any], report: Any, real_data: Path, tmp_path: Path
) -> None:
    """All phases of a run: training, ranking, prunes, validation, and the test cases; fewer prunes than usual."""

    def run(name: str, *options: str) -> Callable[[], float]:
        folder = tmp_path / name

        def execute() -> float:
            wall, _ = seconds_of(
                "run", "--strategy", "stamp_plus", "--dataset", "hippocampus", "--n-train", "25", "--folds", "0",
                "--protocol", "quick", "--set", "filters_per_step=48", "--set", "recovery_epochs=2",
                "--data-root", str(real_data), "--runs", str(folder), "--force", *options,
            )  # fmt: skip
            return wall

        return execute

    def dice(name: str) -> float:
        (record,) = (tmp_path / name).rglob("run.json")
        return float(json.loads(record.read_text())["summary"]["test_dice"])

    variants = {"fast": run("fast"), "plain": run("plain", "--kernels", "plain", "--allocator", "system")}
    times = time_interleaved(variants, 5, warm_ups=0)
    each = ", ".join(f"{name} {median(times.seconds[name]):.0f} s, Dice {dice(name):.3f}" for name in variants)
    report("whole run, stamp_plus, quick, 8 prunes, hippocampus n=25: × plain as it comes",
           times.ratio("fast", "plain"), at_least=3.0, detail=f"{times.spread('fast', 'plain')}; {each}")  # fmt: skip
