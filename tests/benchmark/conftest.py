"""Tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.config.resolve import resolve_dataset, resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.compute_settings import Compute
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.runner import Run, execute, plan_run, prepare_cases
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.dataset import open_dataset


def tiny(
    name: str = "stamp_plus",
    dataset: str = "phantom2d:size=16,cases=10",
    protocol: str = "quick",
    protocol_settings: tuple[str, ...] = ("max_epochs=3",),
    **settings: Any,
) -> Run:
    """A run of seconds: 16 pixels, 2 folds, a few epochs."""
    chosen = resolve_protocol(protocol, ["folds=2", "batch_size=2", *protocol_settings])
    given = {"f": 2, "depth": 1, **settings}
    known = [f"{key}={value}" for key, value in given.items()]
    (choice,) = resolve_strategies(name, chosen, known)
    return plan_run(choice, open_dataset(resolve_dataset(dataset)), chosen, n_train=None, fold=0, seed=0)


@pytest.fixture
def perform(tmp_path: Path, compute: Compute) -> Callable[..., dict[str, Any]]:
    """Executes a run into a store under `tmp_path` and returns its summary."""

    def _perform(run: Run, store: RunStore | None = None, **options: Any) -> dict[str, Any]:
        progress = Progress("test", 1, quiet=True)
        prepared = prepare_cases([run], progress)
        return execute(run, prepared, store or RunStore(tmp_path / "runs"), compute, progress, **options)

    return _perform


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return tiny
