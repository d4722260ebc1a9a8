"""Selection of the planned runs that are still to be executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stampbench.benchmark.execution.job import Task


class Selection(NamedTuple):
    """Tasks by what is to be done with them.

    Attributes:
        missing: to be executed.
        finished: recorded already.
        failed: failed before, and not retried.
        statuses: recorded statuses by run id.
    """

    missing: list[Task]
    finished: list[Task]
    failed: list[Task]
    statuses: Mapping[str, str]


def select(
    tasks: Sequence[Task], statuses: Mapping[str, str], *, force: bool = False, retry_failed: bool = True
) -> Selection:
    """Select tasks by their recorded statuses.

    Args:
        tasks: all tasks.
        statuses: recorded statuses by run id.
        force: whether finished runs that were requested are executed again; their parents are not.
        retry_failed: whether failed runs are executed again.
    """
    selection = Selection([], [], [], statuses)
    for task in tasks:
        status = statuses.get(task.job.id)
        if force and task.requested:
            selection.missing.append(task._replace(job=task.job.model_copy(update={"force": True})))
        elif status == "finished":
            selection.finished.append(task)
        elif status == "failed" and not retry_failed:
            selection.failed.append(task)
        else:
            selection.missing.append(task)
    return selection


def filter_tasks(tasks: Sequence[Task], words: Sequence[str]) -> list[Task]:
    """Return the tasks with one of these ids or with one of these texts in the title, and their parents."""
    if not words:
        return list(tasks)
    wanted = {task.job.id for task in tasks if any(word in task.job.title or word == task.job.id for word in words)}
    for task in reversed(tasks):  # parents come before the runs that build on them
        if task.job.id in wanted:
            wanted |= {parent.spec.id for parent in task.run.parents.values()}
    return [task for task in tasks if task.job.id in wanted]
