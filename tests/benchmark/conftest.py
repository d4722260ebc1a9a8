"""Tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.cli.parsing import parse_settings
from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.environment.provenance import environment, provenance
from stampbench.benchmark.execution.run import Draw, Run, plan_run, prepare_cases
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record, Summary
from stampbench.datasets.dataset import open_dataset


def tiny(
    name: str = "stamp_plus",
    dataset: str = "phantom2d:size=16,cases=10",
    protocol: str = "quick",
    protocol_settings: tuple[str, ...] = ("max_epochs=3",),
    **settings: Any,
) -> Run:
    """A run of seconds: 16 pixels, 2 folds, a few epochs."""
    small = {"folds": 2, "batch_size": 2, **parse_settings("--protocol-set", protocol_settings)}
    chosen = resolve_protocol(protocol, small)
    (resolved,) = resolve_strategies([name], chosen, {"f": 2, "depth": 1, **settings})
    return plan_run(resolved, open_dataset(find_definition(dataset)), chosen, Draw(None, fold=0, seed=0))


@pytest.fixture
def perform(tmp_path: Path, compute: ComputeSettings) -> Callable[..., Summary]:
    """Executes a run into a store under `tmp_path` and returns its summary."""

    def _perform(run: Run, store: RunStore | None = None, **options: Any) -> Summary:
        progress = Progress("test", 1, quiet=True)
        prepared = prepare_cases([run], progress)
        place = Workplace(store or RunStore(tmp_path / "runs"), compute, progress)
        return execute(run, prepared, place, **options)

    return _perform


@pytest.fixture
def started() -> Callable[[Run], Record]:
    """Makes the record of a run that starts now."""

    def _started(run: Run) -> Record:
        compute = ComputeSettings(device="cpu")
        described = DatasetDescription.of(run.dataset)
        return Record.started(run.spec, run.label, described, environment(compute), provenance())

    return _started


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return tiny
