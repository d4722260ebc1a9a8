"""Interleaved timing of speed ratios, collected in one table; `make bench` prints it and writes it into the docs."""

from __future__ import annotations

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
from typing import Any, NamedTuple

import pytest
import torch
from tabulate import tabulate

from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.models.model import Architecture

ROUNDS = 7
THREADS = os.cpu_count() or 1
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


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


@pytest.fixture(autouse=True)
def _process_of_a_run() -> Iterator[None]:
    """Use all cores and keep freed memory, as `stampbench run` configures its process."""
    keep_heap()
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def time_interleaved(benchmark: Any) -> Callable[..., Times]:
    """Function that times variants in turns: in each round, every variant is executed once.

    A variant that returns a number has measured its own seconds. The first round is a warm-up.
    """

    def measure(variants: Mapping[str, Callable[[], float | None]], rounds: int = ROUNDS) -> Times:
        seconds: dict[str, list[float]] = {name: [] for name in variants}

        def one_round() -> None:
            for name, variant in variants.items():
                started = time.perf_counter()
                own_seconds = variant()
                seconds[name].append(time.perf_counter() - started if own_seconds is None else own_seconds)

        benchmark.pedantic(one_round, rounds=rounds, warmup_rounds=1)
        return Times({name: times[1:] for name, times in seconds.items()})

    return measure


@pytest.fixture
def report(benchmark: Any) -> Callable[..., None]:
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
        benchmark.extra_info[what] = measured
        ROWS.append(Row(what, measured, goal, passed, detail))

    return add


class Worker:
    """A process of `worker.py` that trains on request."""

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.faults: list[int] = []
        self.peak_kilobytes = 0

    def start(self, steps: int) -> None:
        """Let the process train so many steps."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()

    def wait(self) -> float:
        """Wait for the steps; return their seconds."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline().split()
        assert answer, "the worker ended"
        self.faults.append(int(answer[1]))
        self.peak_kilobytes = int(answer[2])
        return float(answer[0])

    @property
    def page_faults(self) -> int:
        """Minor page faults of a step: the median without the first one."""
        return int(statistics.median(self.faults[1:]))

    def train(self, steps: int = 1) -> float:
        """Train so many steps; return their seconds."""
        self.start(steps)
        return self.wait()


@pytest.fixture
def workers() -> Iterator[Callable[..., Worker]]:
    """Function that starts a process that trains an architecture; all processes end with the test."""
    with ExitStack() as stack:

        @contextmanager
        def running(worker: Worker) -> Iterator[Worker]:
            try:
                yield worker
            finally:
                worker.process.kill()
                worker.process.wait()

        def start(architecture: Architecture, **settings: Any) -> Worker:
            defaults = {"threads": THREADS, "keep_heap": True, "kernels": "fast", "loop": "package"}
            described = {"architecture": architecture.model_dump_json()}
            return stack.enter_context(running(Worker(**described, **(defaults | settings))))

        yield start


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not ROWS:
        return
    table = _table()
    terminalreporter.write_line("\n" + table)
    if path := config.getoption("--write-table"):
        page = path.read_text()
        before, rest = page.split(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}")


def _table() -> str:
    verdict = {True: "pass", False: "**missed**", None: ""}
    rows = [(row.what, row.goal, f"{row.measured:.3g}", verdict[row.passed], row.detail) for row in ROWS]
    described = tabulate(rows, ["what", "goal", "measured", "", "spread"], tablefmt="pipe", disable_numparse=True)
    return f"{_machine()}\n\n{described}"


def _machine() -> str:
    from stampbench.benchmark.environment.compute_settings import ComputeSettings
    from stampbench.benchmark.environment.provenance import environment, provenance

    machine, packages = environment(ComputeSettings(device="cpu")), provenance().packages
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "monai"))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (
        f"`make bench` at commit {commit or 'unknown'}: {machine.processor}, {machine.cores} cores, {THREADS} threads, "
        f"{platform.system()}; Python {machine.python}, {versions}; oneDNN {_onednn()}."
    )


def _onednn() -> str:
    line = next((line for line in torch.__config__.show().splitlines() if "MKL-DNN" in line), "")
    return line.split("v")[-1].split(" ")[0] if line else "absent"
