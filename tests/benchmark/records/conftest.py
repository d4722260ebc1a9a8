"""A finished run whose record tests may damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore


@pytest.fixture
def finished_run(make_run: Callable[..., Run], perform: Callable[..., Any], tmp_path: Path) -> Path:
    """Folder of a finished run in the store `tmp_path / "runs"`."""
    run = make_run("stamp")
    perform(run)
    return RunStore(tmp_path / "runs").folder(run.spec)
