"""What `make gpu` executes: checks, speed, and real runs with the latency of their trajectories.

On a CPU, the same commands run in miniature: a rehearsal, whose numbers mean nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
MARKERS = "<!-- bench: begin -->\n<!-- bench: end -->\n"
_PYTEST = (
    sys.executable, "-m", "pytest", "-o", "addopts=--import-mode=importlib --strict-markers -rs",
    "-p", "no:cacheprovider", "-q",
)  # fmt: skip
"""pytest without the options of `pyproject.toml` that need plug-ins."""
_GRACE = 10
"""Seconds between the interruption of a process and its end."""
STAMPBENCH = (sys.executable, "-m", "stampbench.benchmark")
"""The command line, without arguments."""


class Place(NamedTuple):
    """Where stages compute, and the folder that gets their results."""

    device: str
    output: Path

    @property
    def miniature(self) -> bool:
        """Whether this is a rehearsal on a CPU."""
        return self.device == "cpu"


class Command(NamedTuple):
    """A command.

    Attributes:
        words: the program and its arguments.
        output: file for its standard output; None: the terminal.
        may_fail: whether the stage passes although it fails.
    """

    words: Sequence[str]
    output: Path | None = None
    may_fail: bool = False


class Stage(NamedTuple):
    """A part of `make gpu`.

    Attributes:
        seconds: time limit on a GPU.
        commands: yields the commands at a place; a command is asked for when the one before has ended.
    """

    seconds: int
    commands: Callable[[Place], Iterator[Command]]


def checks(place: Place) -> Iterator[Command]:
    """Yield the tests that need a GPU; in miniature, those that a CPU can rehearse."""
    tests = ROOT / "tests"
    files = sorted((tests / "gpu" if place.miniature else tests).rglob("test_*.py"))
    marked = [str(each) for each in files if each.parent != tests / "perf" and "pytest.mark.gpu" in each.read_text()]
    for name in ("checks.xml", "checks.csv"):  # a stage that is stopped must not leave those of an earlier call
        (place.output / name).unlink(missing_ok=True)
    report = f"--junit-xml={place.output / 'checks.xml'}"
    # Most of the time is that of a CPU: of references in float64, and of launches.
    together = ["-n", "4"] if find_spec("xdist") and not place.miniature else []
    yield Command([*_PYTEST, *together, "-m", "gpu", "--device", place.device, report, *marked])


def bench(place: Place) -> Iterator[Command]:
    """Yield the measurement of speed against goals."""
    page = place.output / "bench.md"
    page.write_text(MARKERS)
    (place.output / "bench.csv").unlink(missing_ok=True)
    options = ["--device", place.device, "--write-table", str(page), "--write-csv", str(place.output / "bench.csv")]
    yield Command([*_PYTEST, "-m", "gpu", *options, str(ROOT / "tests" / "perf" / "test_gpu.py")])


class Trained(NamedTuple):
    """Options of `stampbench run`: strategies on a dataset."""

    strategies: str
    dataset: str
    options: tuple[str, ...]


_QUICK = ("--n-train", "25", "--folds", "0", "--protocol", "quick")
_TINY = (
    "--folds", "0", "--protocol", "quick", "--protocol-set", "max_epochs=1", "--set", "f=2", "--set", "depth=1",
    "--set", "filters_per_step=4", "--set", "recovery_epochs=1",
)  # fmt: skip
RUNS = (Trained("standard,stamp_plus,swift", "hippocampus", _QUICK), Trained("stamp_plus", "dsb2018", _QUICK))
REHEARSED = (
    Trained("standard,stamp_plus", "phantom3d:size=16,cases=14", _TINY),
    Trained("stamp_plus", "phantom2d:size=16,cases=14", _TINY),
)


def runs(place: Place) -> Iterator[Command]:
    """Yield four runs, the latency of networks and of the trajectories that prune, and their figure."""
    folder = place.output / "runs"
    store = ["--runs", str(folder)]
    trained = REHEARSED if place.miniature else RUNS
    for each in trained:
        named = ["--strategy", each.strategies, "--dataset", each.dataset, *each.options]
        yield Command([*STAMPBENCH, "run", *named, "--device", place.device, "--quiet", *store])
    figure = str(place.output / "latency_along_pruning.svg")
    # A rehearsal may be too noisy to leave anything to draw.
    draw = Command(
        [*STAMPBENCH, "figure", "latency-along-pruning", "--output", figure, *store], may_fail=place.miniature
    )
    for each in trained:
        yield from _networks(each.dataset, place, store)
    options = latencies(place)
    for number, each in enumerate(options):
        if number == len(options) - 1:
            yield draw  # the search for saturating batches may reach the limit
        for run in pruned_runs(folder):
            file = place.output / f"latency_{run}_{number}"
            if file.with_suffix(".md").is_file():  # of an earlier try that reached its limit
                continue
            logs = ["--output", f"{file}.csv", "--rounds", f"{file}_rounds.csv"]
            words = [*STAMPBENCH, "latency", run, *each, *store, "--record", "--format", "md", *logs]
            yield Command(words, file.with_suffix(".md"))
    yield draw


def _networks(dataset: str, place: Place, store: list[str]) -> Iterator[Command]:
    """Yield the timings of the strategies' networks for a dataset: recorded ones, the others untrained."""
    named = ["--strategy", "standard,stamp_plus,flat,pocket_unet,swift", "--dataset", dataset, "--device", place.device]
    timings = {"eager": "wall"} if place.miniature else {"cudagraph": "wall,kernels", "eager": "wall"}
    for backend, timing in timings.items():
        table = place.output / f"latency_networks_{dataset.partition(':')[0]}_{backend}"
        if table.with_suffix(".md").is_file():  # of an earlier try that reached its limit
            continue
        timed = ["--backend", backend, "--timing", timing, "--seconds", "0.2" if place.miniature else "2"]
        words = [*STAMPBENCH, "latency", *named, *timed, *store, "--format", "md", "--output", f"{table}.csv"]
        yield Command(words, table.with_suffix(".md"))


def latencies(place: Place) -> list[list[str]]:
    """Return the options of each timing of a trajectory, the slowest one last."""
    if place.miniature:
        eager = ["--backend", "eager", "--device", place.device, "--trajectory", "3", "--seconds", "0.2"]
        return [[*eager, "--timing", "wall"], [*eager, "--timing", "throughput"]]
    common = ["--trajectory", "5", "--seconds", "2"]
    graph = ["--backend", "cudagraph", "--device", place.device, *common]
    return [
        [*graph, "--timing", "wall,kernels"],
        ["--backend", "eager", "--device", place.device, *common, "--timing", "wall"],
        ["--backend", "fast", "--device", "cpu", *common],
        [*graph, "--timing", "kernels", "--precision", "bf16,fp16"],
        [*graph, "--timing", "throughput"],
    ]


def pruned_runs(store: Path) -> list[str]:
    """Return the ids of the finished runs of a store whose strategy prunes, in the order of their datasets."""
    found = []
    for path in sorted(store.rglob("run.json")):
        finished = json.loads(path.read_text())["status"] == "finished"
        if finished and len(path.with_name("pruned.csv").read_text().splitlines()) > 1:
            found.append(path.parent.name)
    return found


STAGES = {"checks": Stage(170, checks), "bench": Stage(200, bench), "runs": Stage(190, runs)}
"""All stages; together they take less than ten minutes."""


def limit(stage: Stage, place: Place) -> int:
    """Return the seconds that a stage may take; a rehearsal shares a CPU with other work and may take longer."""
    return stage.seconds * (5 if place.miniature else 1)


def execute(stage: Stage, place: Place, say: Callable[[str], None]) -> bool:
    """Execute a stage until its time is over; return whether every command succeeded.

    Args:
        stage: the stage.
        place: where it computes.
        say: called with a line about each failure.
    """
    place.output.mkdir(parents=True, exist_ok=True)
    seconds = limit(stage, place)
    deadline, succeeded = time.monotonic() + seconds, True
    for command in stage.commands(place):
        code = _run(command, deadline - time.monotonic())
        if code is None:
            say(f"reached its limit of {seconds} s: {' '.join(command.words[1:6])} …")
            return False
        if code:
            say(f"exit code {code}: {' '.join(command.words[1:])}")
            succeeded = succeeded and command.may_fail
    return succeeded


def _run(command: Command, seconds: float) -> int | None:
    """Return the exit code of a command; None: it took longer and was interrupted, with all that it started.

    A file is written when the command succeeds.
    """
    unfinished = Path(os.devnull) if command.output is None else command.output.with_suffix(".part")
    with unfinished.open("w") as file:
        output = None if command.output is None else file
        process = subprocess.Popen(command.words, stdout=output, cwd=ROOT, start_new_session=True)
        code = _ended(process, seconds)
    if code == 0 and command.output is not None:
        unfinished.replace(command.output)
    return code


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Return the exit code of a process; None: it was interrupted, and killed if it had not ended soon after."""
    try:
        return process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)  # pytest writes its table, and runs save their state
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
