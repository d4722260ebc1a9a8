"""From the command to the record."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "stampbench.benchmark"]


def timed(*arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*COMMAND, *arguments], check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_list_answers_at_once(in_turns: Any, report: Any) -> None:
    taken = in_turns({"list": lambda: timed("list", "strategies")[1]})
    report("stampbench list strategies: CPU seconds", sorted(taken.seconds["list"])[3], at_most=0.3)


def test_first_step_on_a_cached_dataset(in_turns: Any, report: Any, tmp_path: Path) -> None:
    """From the command to the end of a run of one epoch of few steps, which bounds it from above."""

    def run() -> float:
        return timed(
            "run", "--strategy", "standard", "--dataset", "phantom2d", "--n-train", "10", "--folds", "0",
            "--protocol", "quick", "--protocol-set", "max_epochs=1", "--runs", str(tmp_path / str(time.time())),
        )[0]  # fmt: skip

    taken = in_turns({"run": run})
    report("stampbench run, one epoch on a cached dataset, whole command: seconds", sorted(taken.seconds["run"])[3],
           at_most=8.0)  # fmt: skip


@pytest.mark.slow
def test_stamp_plus_on_hippocampus(in_turns: Callable[..., Any], report: Any, real_data: Path, tmp_path: Path) -> None:
    """One pair of runs: minutes each, so no median."""

    def run(name: str, *options: str) -> Callable[[], float]:
        folder = tmp_path / name

        def whole() -> float:
            wall, _ = timed(
                "run", "--strategy", "stamp_plus", "--dataset", "hippocampus", "--n-train", "25", "--folds", "0",
                "--protocol", "quick", "--data-root", str(real_data), "--runs", str(folder), "--force", *options,
            )  # fmt: skip
            return wall

        return whole

    def summary(name: str) -> dict[str, Any]:
        (record,) = (tmp_path / name).rglob("run.json")
        found: dict[str, Any] = json.loads(record.read_text())["summary"]
        return found

    ways = {"fast": run("fast"), "plain": run("plain", "--kernels", "plain", "--allocator", "system")}
    seconds = {name: way() for name, way in ways.items()}
    in_turns({"nothing": lambda: None}, 1)
    scores = ", ".join(f"{name} {seconds[name]:.0f} s, Dice {summary(name)['test_dice']:.3f}" for name in ways)
    report("whole run, stamp_plus, quick, hippocampus n=25: × plain as it comes", seconds["plain"] / seconds["fast"],
           at_least=3.0, detail=f"one pair: {scores}")  # fmt: skip
