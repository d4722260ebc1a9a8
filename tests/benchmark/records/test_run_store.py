"""Stores of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore


def test_store_that_cannot_be_written_is_refused(
    perform: Callable[..., Any], make_run: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    store = RunStore(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write runs to"):
        store.check_writable()
    with pytest.raises(UserError, match="cannot write runs to"):
        perform(make_run("standard"), store)


def test_a_truncated_record_is_named_so(copied_runs: Any) -> None:
    path = next(copied_runs.runs.glob("*/standard/*/run.json"))
    path.write_text(path.read_text()[:100])
    with pytest.raises(UserError, match=r"run\.json is damaged; it may be truncated"):
        RunStore(copied_runs.runs).find(path.parent.name)
