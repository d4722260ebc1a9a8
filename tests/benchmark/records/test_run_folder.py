"""Writing of a run's folder while it is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.training.resume import ResumeFile


def test_process_that_lost_its_lease_writes_nothing(
    make_run: Callable[..., Run], started: Callable[[Run], Record], tmp_path: Path
) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("flat")
    with Lease(store.lease_folder(run.spec)) as lease:
        folder = store.begin(started(run), lease)
        resume = ResumeFile(folder.resume, lease.check)
        resume.write({"epoch": 1})
        (store.lease_folder(run.spec) / "000002.json").write_text('{"host": "far"}')
        for write in (
            lambda: resume.write({"epoch": 2}),
            lambda: folder.write_table("cases.csv", CaseScore, [{"a": 1}]),
            lambda: folder.fail("no", resumable=True),
        ):
            with pytest.raises(UserError, match="taken over by another process"):
                write()
    assert resume.read() == {"version": 6, "epoch": 1}
    assert store.status(run.spec) == "running"
