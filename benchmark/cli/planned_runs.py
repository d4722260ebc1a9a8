"""Planned runs, listed with an estimate and then executed: what `run` and `suite run` share."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import echo

if TYPE_CHECKING:
    from stampbench.benchmark.api import RunOptions
    from stampbench.benchmark.execution.job import Task
    from stampbench.benchmark.execution.selection import Selection

_SHOWN = 20
"""Most runs that are listed before they are executed."""


def execute_tasks(tasks: list[Task], options: RunOptions, title: str, *, dry_run: bool) -> int:
    """Show what is planned, execute it unless `dry_run`, and return the exit code.

    Args:
        tasks: all runs, parents first.
        options: store, compute settings and executors.
        title: what the progress of several runs is called.
        dry_run: whether only to show the plan.
    """
    from stampbench.benchmark.api import choose, execute
    from stampbench.benchmark.execution.scheduler import Reporter
    from stampbench.benchmark.records.run_store import RunStore

    store = RunStore(options.runs)
    selection = choose(tasks, options)
    _show_plan(tasks, selection, options)
    if dry_run:
        return 0
    debug = bool(click.get_current_context().find_root().params["debug"])
    report = Reporter(
        done=echo,
        problem=lambda line: echo(line, err=True),
        traceback=(lambda text: echo(text, err=True)) if debug else lambda text: None,
    )
    failed = execute(selection.missing, options, report, title=title) if selection.missing else {}
    for task in selection.failed:
        reason = store.reason(task.run.spec)
        echo(f"{task.job.id}  {task.job.title}: failed before ({reason})", err=True)
    if total := len(failed) + len(selection.failed):
        again = "; --retry-failed runs them again" if not options.retry_failed else ""
        echo(f"{total} of {len(tasks)} runs failed{again}", err=True)
    if len(failed) < len(selection.missing):
        echo(f"next: stampbench leaderboard --runs {shlex.quote(str(options.runs))}")
    return 1 if total else 0


def _show_plan(tasks: list[Task], selection: Selection, options: RunOptions) -> None:
    missing = {task.job.id for task in selection.missing}
    echo(
        f"{len(tasks)} runs: {len(selection.finished)} finished, {len(selection.missing)} to do, "
        f"{len(selection.failed)} failed"
    )
    owners = _owners(tasks[:_SHOWN], options)
    for task in tasks[:_SHOWN]:
        state = _state(task, missing, selection.statuses, owners.get(task.job.id))
        echo(f"{task.job.id}  {task.job.title}: {state}")
    if len(tasks) > _SHOWN:
        echo(f"… and {len(tasks) - _SHOWN} more")
    if selection.missing:
        echo(_estimate(selection, options))
        by_dataset = Counter(task.run.dataset.name for task in selection.missing)
        echo("to do: " + ", ".join(f"{number} on {name}" for name, number in by_dataset.items()))


def _owners(tasks: Sequence[Task], options: RunOptions) -> dict[str, str]:
    """Return the process that executes each of these runs, by run id; runs that no process executes are missing."""
    from stampbench.benchmark.records.lease import LeaseWatch
    from stampbench.benchmark.records.run_store import RunStore

    watch, found = LeaseWatch(), {}
    for task in tasks:
        folder = RunStore(options.runs).lease_folder(task.run.spec)
        state = watch.state(folder)
        if state is not None and not watch.free(folder):
            found[task.job.id] = state.owner
    return found


def _state(task: Task, missing: set[str], statuses: Mapping[str, str], owner: str | None) -> str:
    """Return what is known of a run, in words.

    Args:
        task: the run.
        missing: ids of the runs that are to be executed.
        statuses: recorded statuses by run id.
        owner: the process that executes it; None: no process.
    """
    status = statuses.get(task.job.id)
    if owner is not None:
        return f"running, leased by {owner}"
    if task.job.id not in missing:
        return "cached" if status == "finished" else "failed before"
    names = {None: "new", "running": "interrupted", "failed": "failed, to be retried", "finished": "to be replaced"}
    expected = task.run.expected
    return (
        names.get(status, str(status))
        + ("" if task.requested else ", a parent run")
        + f", at most {expected.epochs} epochs, {expected.ranking_passes} ranking passes"
    )


def _estimate(selection: Selection, options: RunOptions) -> str:
    from stampbench.benchmark.execution.eta import FinishedRuns
    from stampbench.benchmark.records.run_store import RunStore

    records = RunStore(options.runs).records([], files=())
    finished = FinishedRuns((record for _, record in records) if selection.finished else ())
    estimate = finished.estimate([task.run for task in selection.missing])
    line = f"at most {estimate.epochs:,} epochs"
    if estimate.unknown == len(selection.missing):
        return f"{line}; no estimate of the time: no comparable finished run"
    jobs = options.executors.jobs
    rest = f", without {estimate.unknown} runs that no finished run is comparable to" if estimate.unknown else ""
    return f"{line}, about {estimate.seconds / jobs / 3600:.1f} hours with {jobs} at a time{rest}"
