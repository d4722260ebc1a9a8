"""Tiny runs, a shared store of finished runs, and suite files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from stampbench.benchmark.cli.main import main
from stampbench.benchmark.cli.parsing import parse_settings
from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.resolve import resolve_network, resolve_protocol, resolve_strategies
from stampbench.benchmark.environment import instructions
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.environment.provenance import environment, provenance
from stampbench.benchmark.execution.run import Draw, Run, plan_run, prepare_cases
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record, Summary
from stampbench.benchmark.records.tables import read_records
from stampbench.datasets.dataset import open_dataset

SUITE = """\
strategies:
  - {name: standard, set: {f: 2, depth: 1}}
  - {name: flat, set: {depth: 1}, grid: {f: [1, 2]}}
datasets: ["phantom2d:size=16,cases=14"]
n_train: [6, 8]
folds: [0, 1]
seeds: [0, 3]
protocol: quick
protocol_set: {folds: 2, max_epochs: 2}
"""


def plan_tiny_run(
    name: str = "stamp_plus",
    dataset: str = "phantom2d:size=16,cases=10",
    protocol: str = "quick",
    protocol_settings: tuple[str, ...] = ("max_epochs=3",),
    network: tuple[str, dict[str, Any]] = ("unet", {}),
    **settings: Any,
) -> Run:
    """Plan a run that takes seconds: 16 pixels, 2 folds, a few epochs."""
    small = {"folds": 2, "batch_size": 2, **parse_settings("--protocol-set", protocol_settings)}
    chosen = resolve_protocol(protocol, small)
    (resolved,) = resolve_strategies([name], chosen, {"f": 2, "depth": 1, **settings})
    resolved = resolved.on(resolve_network(*network))
    return plan_run(resolved, open_dataset(find_definition(dataset)), chosen, Draw(None, fold=0, seed=0))


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Function that plans a tiny run; see `plan_tiny_run`."""
    return plan_tiny_run


@pytest.fixture
def perform(tmp_path: Path, compute: ComputeSettings) -> Callable[..., Summary]:
    """Function that executes a run into a store, by default `tmp_path / "runs"`, and returns its summary."""

    def _perform(run: Run, store: RunStore | None = None, **options: Any) -> Summary:
        progress = Progress("test", 1, quiet=True)
        prepared = prepare_cases([run], progress)
        place = Workplace(store or RunStore(tmp_path / "runs"), compute, progress)
        return execute(run, prepared, place, **options)

    return _perform


@pytest.fixture
def started() -> Callable[[Run], Record]:
    """Function that returns the record of a run that starts now."""

    def _started(run: Run) -> Record:
        compute = ComputeSettings(device="cpu")
        described = DatasetDescription.of(run.dataset)
        return Record.started(run.spec, run.label, described, environment(compute), provenance())

    return _started


class RecordedRuns(NamedTuple):
    """Finished runs of three strategies on the two folds of one dataset.

    Attributes:
        runs: root of the store.
        data: folder that holds the dataset.
        options: options of the `run` command that recorded them, without the strategies.
    """

    runs: Path
    data: Path
    options: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """Return a row per run."""
        return read_records(self.runs, []).runs

    def label(self, name: str) -> str:
        """Return the shortest label of a strategy, which is that of its first variant."""
        return min(self.table().query("name == @name")["strategy"], key=len)


_OPTIONS = (
    "--dataset", "hippocampus", "--image-size", "16x16x8", "--protocol", "quick", "--protocol-set", "folds=2",
    "--protocol-set", "batch_size=2", "--protocol-set", "max_epochs=2", "--set", "f=2", "--set", "depth=1", "--quiet",
)  # fmt: skip
_PRUNE = ("--set", "filters_per_step=4", "--set", "recovery_epochs=1")


def _record_runs(root: Path, write_decathlon: Callable[..., Path]) -> None:
    classes = ("background", "front", "back")
    write_decathlon(root / "data", "Task04_Hippocampus", 10, (16, 16, 8), ("MRI",), classes)
    for words in (
        ("standard,stamp_plus,retrain_scratch", *_PRUNE, "--set", "step=selected"),
        ("stamp_plus", *_PRUNE[:2], "--set", "recovery_epochs=2"),
        ("stamp_plus", *_PRUNE, "--set", "base_dropout=0.4"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STAMPBENCH_CACHE", str(root / "cache"))
            patch.setenv("STAMPBENCH_DATA", str(root / "data"))
            patch.chdir(root)
            patch.setattr(sys, "argv", ["stampbench", "run", *_OPTIONS, "--strategy", *words])
            with pytest.raises(SystemExit) as exited:
                main()
            assert not exited.value.code


@pytest.fixture(scope="session")
def recorded_runs(
    write_decathlon: Callable[..., Path], made_once: Callable[[str, Callable[[Path], object]], Path]
) -> RecordedRuns:
    """Recorded runs that all tests share and must not change."""
    root = made_once("recorded", lambda folder: _record_runs(folder, write_decathlon))
    return RecordedRuns(root / "runs", root / "data", _OPTIONS)


@pytest.fixture
def copied_runs(recorded_runs: RecordedRuns, tmp_path: Path) -> RecordedRuns:
    """Copy of the recorded runs that the test may change, in `tmp_path / "runs"`."""
    shutil.copytree(recorded_runs.runs, tmp_path / "runs")
    return recorded_runs._replace(runs=tmp_path / "runs")


@pytest.fixture
def low_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip without the packages of low precisions, and let the CPU have all instructions for them."""
    for package in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    monkeypatch.setattr(instructions, "_instructions", lambda: frozenset({"avx512_vnni", "avx512_bf16"}))


@pytest.fixture
def suite_text() -> str:
    """Content of a suite file with three strategies on a phantom; a grid of 24 runs."""
    return SUITE


@pytest.fixture
def write_suite(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a suite file in `tmp_path` and returns its path."""

    def write(text: str = SUITE, name: str = "suite.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write
