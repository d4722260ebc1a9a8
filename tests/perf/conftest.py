"""Interleaved timing of speed ratios, collected in one table; `make bench` prints it and writes it into the docs."""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from tabulate import tabulate

from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.models.model import Architecture

ROUNDS = 7
THREADS = os.cpu_count() or 1
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
WORKER = Path(__file__).with_name("worker.py")


class Row(NamedTuple):
    """A row of the table: a measured number and its goal.

    Attributes:
        what: name of the measurement.
        measured: the number.
        goal: the goal as text; empty: no goal.
        passed: whether the goal is reached; None: no goal.
        detail: spread of the measurement.
    """

    what: str
    measured: float
    goal: str
    passed: bool | None
    detail: str = ""


class Times(NamedTuple):
    """Interleaved times: the seconds of each round, by the name of the variant."""

    seconds: dict[str, list[float]]

    def ratio(self, of: str, to: str) -> float:
        """Return how many times longer `to` takes than `of`: the median of the ratios within rounds."""
        return statistics.median(b / a for a, b in zip(self.seconds[of], self.seconds[to], strict=True))

    def spread(self, of: str, to: str) -> str:
        """Return the lowest and highest ratio of a round as text."""
        ratios = sorted(b / a for a, b in zip(self.seconds[of], self.seconds[to], strict=True))
        return f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} rounds"


ROWS: list[Row] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", type=Path, help="page into which the table of ratios is written")
    parser.addoption("--write-csv", type=Path, help="file for the rows of the table")


@pytest.fixture(autouse=True)
def _process_of_a_run() -> Iterator[None]:
    """Use all cores and keep freed memory, as `stampbench run` configures its process."""
    keep_heap()
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(threads)


def in_turns(variants: Mapping[str, Callable[[], float | None]], rounds: int = ROUNDS, *, warm_ups: int = 1) -> Times:
    """Time variants in turns: in each round, every variant is executed once.

    A variant that returns a number has measured its own seconds. The first rounds are warm-ups.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(warm_ups + rounds):
        for name, variant in variants.items():
            started = time.perf_counter()
            own_seconds = variant()
            seconds[name].append(time.perf_counter() - started if own_seconds is None else own_seconds)
    return Times({name: times[warm_ups:] for name, times in seconds.items()})


@pytest.fixture(name="in_turns")
def _in_turns() -> Callable[..., Times]:
    """Function that times variants in turns; see `in_turns`."""
    return in_turns


@pytest.fixture
def time_interleaved(benchmark: Any) -> Callable[..., Times]:
    """The same function, for tests that `make bench` selects by the fixture of pytest-benchmark."""

    def measure(
        variants: Mapping[str, Callable[[], float | None]], rounds: int = ROUNDS, *, warm_ups: int = 1
    ) -> Times:
        times: Times = benchmark.pedantic(in_turns, (variants, rounds), {"warm_ups": warm_ups}, rounds=1)
        return times

    return measure


@pytest.fixture
def report() -> Callable[..., None]:
    """Function that adds a row to the table, with the goal `at_least` or `at_most`.

    A missed goal does not fail the test, since machines are noisy.
    """

    def add(
        what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None, detail: str = ""
    ) -> None:
        goal, passed = "", None
        if at_least is not None:
            goal, passed = f"≥ {at_least:g}", measured >= at_least
        if at_most is not None:
            goal, passed = f"≤ {at_most:g}", measured <= at_most
        ROWS.append(Row(what, measured, goal, passed, detail))

    return add


class Worker:
    """A process of `worker.py`, or of another script, that trains on request.

    Args:
        script: the script.
        environment: additional environment variables.
        settings: see the script.
    """

    def __init__(
        self, script: Path = WORKER, environment: Mapping[str, str] = MappingProxyType({}), **settings: Any
    ) -> None:
        command, variables = [sys.executable, str(script), json.dumps(settings)], os.environ | dict(environment)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
        )
        self.faults: list[int] = []
        self.peak_kilobytes, self.peak_gpu_bytes = 0, 0

    def start(self, request: int | str) -> None:
        """Let the process train so many steps, or `prune`."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()

    def wait(self) -> float:
        """Wait for the steps; return their seconds."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().split()
        assert answer, "the worker ended"
        self.faults.append(int(answer[1]))
        self.peak_kilobytes, self.peak_gpu_bytes = int(answer[2]), int(answer[3])
        return float(answer[0])

    @property
    def page_faults(self) -> int:
        """Minor page faults of a step: the median without the first one."""
        return int(statistics.median(self.faults[1:]))

    def train(self, steps: int = 1) -> float:
        """Train so many steps; return their seconds."""
        self.start(steps)
        return self.wait()

    def prune(self) -> float:
        """Remove a filter and train an epoch; return the seconds, with those of compiling or recording anew."""
        self.start("prune")
        return self.wait()

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def run_workers() -> Iterator[Callable[..., Worker]]:
    """Function that starts a process that trains as a run does; all processes end with the test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Worker:
            worker = Worker(WORKER.with_name("run_worker.py"), **settings)
            stack.callback(worker.end)
            return worker

        yield start


@pytest.fixture
def workers() -> Iterator[Callable[..., Worker]]:
    """Function that starts a process that trains an architecture; all processes end with the test."""
    with ExitStack() as stack:

        @contextmanager
        def running(worker: Worker) -> Iterator[Worker]:
            try:
                yield worker
            finally:
                worker.end()

        def start(architecture: Architecture, **settings: Any) -> Worker:
            defaults = {"threads": THREADS, "keep_heap": True, "kernels": "fast", "loop": "package"}
            described = {"architecture": architecture.model_dump_json()}
            return stack.enter_context(running(Worker(**described, **(defaults | settings))))

        yield start


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not ROWS:
        return
    table = _table(config.getoption("--device") if config.getoption("markexpr") == "gpu" else "cpu")
    terminalreporter.write_line("\n" + table)
    if path := config.getoption("--write-csv"):
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([Row._fields, *ROWS])
    if path := config.getoption("--write-table"):
        page = path.read_text()
        before, rest = page.split(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


def _table(device: str) -> str:
    verdict = {True: "pass", False: "**missed**", None: ""}
    rows = [(row.what, row.goal, f"{row.measured:.3g}", verdict[row.passed], row.detail) for row in ROWS]
    described = tabulate(rows, ["what", "goal", "measured", "", "spread"], tablefmt="pipe", disable_numparse=True)
    return f"{_machine(device)}\n\n{described}"


def _machine(device: str) -> str:
    from stampbench.benchmark.environment.compute_settings import ComputeSettings
    from stampbench.benchmark.environment.provenance import environment, provenance

    machine, code = environment(ComputeSettings(device="cpu")), provenance()
    packages, commit = code.packages, f" at commit {code.git_commit[:7]}" if code.git_commit else ""
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "monai"))
    if device != "cpu":
        gpu, cudnn = torch.cuda.get_device_name(device), torch.backends.cudnn.version()
        return (
            f"`make gpu-bench`{commit}: {gpu}, CUDA {torch.version.cuda}, cuDNN {cudnn}; "
            f"{machine.processor}, {machine.cores} cores; Python {machine.python}, {versions}."
        )
    return (
        f"`make bench`{commit}: {machine.processor}, {machine.cores} cores, {THREADS} threads, "
        f"{platform.system()}; Python {machine.python}, {versions}; oneDNN {_onednn()}."
    )


def _onednn() -> str:
    line = next((line for line in torch.__config__.show().splitlines() if "MKL-DNN" in line), "")
    return line.split("v")[-1].split(" ")[0] if line else "absent"
