"""Suites to execute, comparison of stores, and runs that log every epoch they train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.config.suite_file import load_suite
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.executors.base import Executor
from stampbench.benchmark.execution.executors.serial import SerialExecutor
from stampbench.benchmark.execution.expand_suite import expand_suite
from stampbench.benchmark.execution.job import Task, WorkerSettings
from stampbench.benchmark.execution.scheduler import Reporter, Scheduler
from stampbench.benchmark.records.run_store import RunStore
from stampbench.strategies.registry import STRATEGIES, load_plugin

# Every worker process would import MONAI for its losses, which takes longer than these runs; dice_l2 is not MONAI's.
SUITE = """\
strategies:
  - {name: standard, set: {f: 2, depth: 1}}
  - {name: stamp_plus, set: {f: 2, depth: 1, filters_per_step: 3, recovery_epochs: 1}}
  - {name: flat, set: {f: 2, depth: 1}}
datasets: ["phantom2d:size=16,cases=14", "phantom3d:size=16,cases=14"]
n_train: [6]
folds: [0, 1]
protocol: quick
protocol_set: {folds: 2, max_epochs: 3, loss: dice_l2}
"""

ONE_GRID = """\
datasets: ["phantom2d:size=16,cases=14"]
folds: [0]
protocol: quick
protocol_set: {folds: 2, loss: dice_l2}
"""

# The plug-in logs a line for every epoch that it trains, and none for epochs that a resumed run replays. Epochs are
# slow, so that a test can disturb them, until the file LOG.fast exists.
PLUGIN = """\
import os, time
from pathlib import Path
from stampbench.strategies.standard import Standard

class Logged(Standard):
    '''Logs the epochs that it trains.'''

    def fit(self, trainer):
        for epoch in range(12):
            if not getattr(trainer, "replaying", True):
                with open(os.environ["LOGGED"], "a") as log:
                    data = trainer.session.data
                    run = (self.rank_every, trainer.session._score_seed, *data.size, data.training.number)
                    log.write(f"{'-'.join(map(str, run))} {epoch} {os.getpid()}\\n")
                if not Path(os.environ["LOGGED"] + ".fast").exists():
                    time.sleep(0.15)
            trainer.train(1)
        trainer.checkpoint()
"""


@pytest.fixture
def suite_text() -> str:
    """Content of a suite file of 12 runs on two phantoms."""
    return SUITE


@pytest.fixture
def write_tasks(tmp_path: Path) -> Callable[[str], list[Task]]:
    """Function that writes the suite file `tmp_path / "suite.yaml"` and returns its tasks."""

    def write(text: str) -> list[Task]:
        (tmp_path / "suite.yaml").write_text(text)
        return expand_suite(load_suite(str(tmp_path / "suite.yaml")), lambda request: request.open(None))

    return write


@pytest.fixture
def worker_settings() -> Callable[..., WorkerSettings]:
    """Function that returns the settings of workers with one thread."""

    def settings(store: Path, save_every: float = 10.0, **others: Any) -> WorkerSettings:
        return WorkerSettings(runs=store, compute=ComputeSettings(threads=1, save_every=save_every), **others)

    return settings


@pytest.fixture
def schedule() -> Callable[..., dict[str, str]]:
    """Function that executes tasks into a store and returns the reasons of failed runs by id."""

    def run(tasks: list[Task], store: Path, executor: Executor) -> dict[str, str]:
        return Scheduler(tasks, RunStore(store), executor, Reporter()).run()

    return run


@pytest.fixture
def read_store() -> Callable[[Path], dict[str, dict[str, Any]]]:
    """Function that returns everything that is recorded of every run, except times, machine and date."""

    def read(store: Path) -> dict[str, dict[str, Any]]:
        runs = {}
        for path in store.rglob("run.json"):
            record, folder = json.loads(path.read_text()), path.parent
            assert record["status"] == "finished", record.get("reason")
            times = ("training_seconds", "training_joules")
            runs[record["id"]] = {
                "spec": record["spec"],
                "summary": {key: value for key, value in record["summary"].items() if key not in times},
                "weights": (folder / "model" / "weights.safetensors").read_bytes(),
                "architecture": (folder / "model" / "architecture.json").read_text(),
                "trajectory": pd.read_csv(folder / "trajectory.csv").drop(columns="seconds").to_csv(),
                "pruned": (folder / "pruned.csv").read_text(),
                "cases": (folder / "cases.csv").read_text(),
            }
        return runs

    return read


class LoggedSuite:
    """A suite of runs of a plug-in that logs every epoch it trains, in twelve epochs per run.

    Attributes:
        plugin: file of the plug-in.
        log: file to which runs log: a line with run, epoch and process id for each trained epoch.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._suite, self._patch = folder, folder / "suite.yaml", patch
        self.plugin, self.log = folder / "logged.py", folder / "log"

    def write(self, number: int, grid: str = ONE_GRID) -> None:
        """Write the plug-in and a suite that runs it with `number` settings for every point of the grid."""
        self.plugin.write_text(PLUGIN)
        # The strategy does not use its hyperparameter rank_every, which distinguishes the runs.
        settings = f"set: {{f: 2, depth: 1}}, grid: {{rank_every: {list(range(1, number + 1))}}}"
        self._suite.write_text(f"strategies: [{{name: logged, {settings}}}]\n{grid}")

    def load(self) -> list[Task]:
        """Return the tasks of the suite; the plug-in is registered until the end of the test."""
        self._patch.setitem(STRATEGIES, "logged", STRATEGIES["standard"])
        self._patch.delitem(STRATEGIES, "logged")
        load_plugin(self.plugin)
        return expand_suite(load_suite(str(self._suite)), lambda request: request.open(None))

    def worker_options(self, log: Path | None = None) -> dict[str, Any]:
        """Return the worker settings that runs of the plug-in need."""
        return {"plugins": (self.plugin,), "environment": {"LOGGED": str(log or self.log)}}

    def start(self, *options: object, log: Path | None = None) -> subprocess.Popen[str]:
        """Start `stampbench suite run` with the local executor and these options; its output is captured."""
        words = [
            "suite", "run", self._suite, "--threads", 1, "--executor", "local", "--plugin", self.plugin,
            "--save-every", 0, *options,
        ]  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "stampbench.benchmark", *map(str, words)],
            env=os.environ | {"LOGGED": str(log or self.log)},
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> None:
        """Execute what is left of the suite in this process."""
        self._execute(self._folder / "runs", self.log)

    def run_undisturbed(self) -> Path:
        """Execute the suite in this process into another store, which is returned."""
        self._execute(self._folder / "undisturbed", self._folder / "undisturbed-log")
        return self._folder / "undisturbed"

    def _execute(self, store: Path, log: Path) -> None:
        self.make_fast(log)
        self._patch.setenv("LOGGED", str(log))
        settings, tasks = WorkerSettings(runs=store, compute=ComputeSettings(threads=1)), self.load()
        executor = SerialExecutor(settings, len(tasks), quiet=True)
        assert Scheduler(tasks, RunStore(store), executor, Reporter()).run() == {}

    def make_fast(self, log: Path | None = None) -> None:
        """Let the remaining epochs be fast, since the disturbance is over."""
        Path(f"{log or self.log}.fast").touch()

    def wait_for(self, lines: int) -> list[list[str]]:
        """Wait until the log has so many lines, and return them as words."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            logged = self.log.read_text().splitlines() if self.log.exists() else []
            if len(logged) >= lines:
                return [line.split() for line in logged]
            time.sleep(0.02)
        raise AssertionError(f"{self.log} has fewer than {lines} lines")

    def processes(self) -> set[str]:
        """Return the ids of the processes that trained epochs."""
        return {line.split()[2] for line in self.log.read_text().splitlines()} if self.log.exists() else set()

    def epochs(self) -> Counter[tuple[str, str]]:
        """Return how many times each epoch of each run was trained."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter((line.split()[0], line.split()[1]) for line in lines)


@pytest.fixture
def logged_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoggedSuite:
    """Suite of runs that log every epoch they train, in `tmp_path`; call `write` first."""
    return LoggedSuite(tmp_path, monkeypatch)
