"""Selection of the runs that are still to be executed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.execution.job import Job, Task
from stampbench.benchmark.execution.selection import filter_tasks, select


def task(id: str, title: str = "", parents: tuple[str, ...] = (), *, requested: bool = True) -> Task:
    """Return a task whose run knows only the ids of its parent runs."""
    run: Any = SimpleNamespace(parents={name: SimpleNamespace(spec=SimpleNamespace(id=name)) for name in parents})
    job = Job(
        id=id,
        title=title,
        dataset=DatasetRequest(name="phantom2d"),
        strategy="standard",
        hyperparameters={},
        protocol="quick",
        protocol_settings={},
        n_train=None,
        fold=0,
        seed=0,
    )
    return Task(run, job, requested)


def ids(tasks: list[Task]) -> list[str]:
    return [each.job.id for each in tasks]


TASKS = [
    task("parent", requested=False),
    task("finished"),
    task("failed"),
    task("running"),
    task("new"),
]
STATUSES = {"parent": "finished", "finished": "finished", "failed": "failed", "running": "running", "other": "failed"}


def test_unfinished_runs_are_executed_and_failed_ones_retried() -> None:
    selection = select(TASKS, STATUSES)
    assert ids(selection.missing) == ["failed", "running", "new"]
    assert ids(selection.finished) == ["parent", "finished"]
    assert selection.failed == []
    assert not any(each.job.force for each in selection.missing)


def test_failed_runs_are_not_retried_without_retry_failed() -> None:
    selection = select(TASKS, STATUSES, retry_failed=False)
    assert ids(selection.missing) == ["running", "new"]
    assert ids(selection.finished) == ["parent", "finished"]
    assert ids(selection.failed) == ["failed"]


@pytest.mark.parametrize("retry_failed", [True, False])
def test_force_executes_requested_runs_again_but_not_their_parents(retry_failed: bool) -> None:
    selection = select(TASKS, STATUSES, force=True, retry_failed=retry_failed)
    assert ids(selection.missing) == ["finished", "failed", "running", "new"]
    assert all(each.job.force for each in selection.missing)
    assert ids(selection.finished) == ["parent"]
    assert selection.failed == []
    assert not any(each.job.force for each in TASKS)  # the given tasks are unchanged


def test_force_executes_an_unfinished_parent_without_force() -> None:
    tasks = [task("parent", requested=False), task("child", parents=("parent",))]
    selection = select(tasks, {}, force=True)
    assert [(each.job.id, each.job.force) for each in selection.missing] == [("parent", False), ("child", True)]


CHAIN = [
    task("aaa", "phantom2d n=6 standard"),
    task("bbb", "phantom2d n=6 distill", ("aaa",)),
    task("ccc", "phantom2d n=6 retrain_scratch", ("bbb",)),
    task("ddd", "phantom2d n=8 flat"),
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["aaa", "bbb", "ccc", "ddd"]),
        (["n=8"], ["ddd"]),
        (["n=6"], ["aaa", "bbb", "ccc"]),
        (["distill"], ["aaa", "bbb"]),
        (["ccc"], ["aaa", "bbb", "ccc"]),
        (["ddd", "standard"], ["aaa", "ddd"]),
        (["n=99"], []),
    ],
)
def test_filter_by_title_or_id_keeps_all_parents_in_order(words: list[str], expected: list[str]) -> None:
    assert ids(filter_tasks(CHAIN, words)) == expected
