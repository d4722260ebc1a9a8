"""Runs brought to an end in an order that their parents allow, by whatever executes them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stampbench.benchmark.execution.executors.base import Executor, Outcome
from stampbench.benchmark.execution.job import Job
from stampbench.benchmark.execution.runner import Run, summary_line
from stampbench.benchmark.records.lease import LeaseWatch
from stampbench.benchmark.records.run_store import RunStore

_POLL_SECONDS = 0.2
_LATER_SECONDS = 5.0
_TRIES = 3


class Task(NamedTuple):
    """A run, and the job that makes it elsewhere."""

    run: Run
    job: Job


class State(NamedTuple):
    """How far a schedule is."""

    done: int
    running: tuple[str, ...]
    failed: int
    elsewhere: int
    total: int


class Report(NamedTuple):
    """What a schedule tells: lines that stay, and its state several times a second."""

    say: Callable[[str], None]
    show: Callable[[State], None] = lambda state: None


def complete(tasks: Sequence[Task], store: RunStore, executor: Executor, report: Report) -> dict[str, str]:
    """Execute runs, parents before what builds on them; returns why runs failed, by id.

    A run that is under way elsewhere, by another schedule over the same store, is waited for, and taken over when it
    stands still. A run whose process is lost is tried again, three times in all.

    Args:
        tasks: parents first; what is finished may be among them.

    Raises:
        KeyboardInterrupt: after the runs under way have saved their state; a second one ends them at once.
    """
    waiting = {task.job.id: task for task in tasks}
    running = dict[str, Task]()
    failed, tries, later = dict[str, str](), Counter[str](), dict[str, float]()
    done, watch = 0, LeaseWatch()
    failed_before = {task.job.id for task in tasks if store.status(task.run.spec) == "failed"}

    def fail(task: Task, reason: str) -> None:
        failed[task.job.id] = reason
        report.say(f"{task.job.id}  {task.job.title}: failed: {reason}")

    def end(outcome: Outcome) -> None:
        nonlocal done
        task = running.pop(outcome.id)
        if outcome.summary is not None:
            done += 1
            report.say(f"{task.job.id}  {task.job.title}: {summary_line(outcome.summary)}")
        elif outcome.reason is not None:
            fail(task, outcome.reason)
        else:  # claimed elsewhere, or lost
            if outcome.lost is not None:
                tries[outcome.id] += 1
                if tries[outcome.id] >= _TRIES:
                    fail(task, f"{outcome.lost}, {_TRIES} times")
                    return
                report.say(f"{task.job.id}  {task.job.title}: {outcome.lost}; it is tried again")
            # What was begun anew and is lost goes on; a finished record is still to be replaced.
            force = task.job.force and store.status(task.run.spec) == "finished"
            waiting[outcome.id] = task._replace(job=task.job.model_copy(update={"force": force}))
            later[outcome.id] = time.monotonic() + (_LATER_SECONDS if outcome.claimed else 0)

    try:
        while waiting or running:
            ready, room = list[Task](), executor.free
            for id, task in list(waiting.items()):
                if len(ready) >= room:
                    break
                parents = {parent.spec.id for parent in task.run.parents.values()}
                if broken := parents & set(failed):
                    del waiting[id]
                    fail(task, f"its parent {min(broken)} failed")
                elif any(each in waiting or each in running for each in parents) or later.get(id, 0) > time.monotonic():
                    continue
                elif not task.job.force and store.status(task.run.spec) == "finished":
                    del waiting[id]
                    done += 1
                elif id not in failed_before and store.status(task.run.spec) == "failed":  # elsewhere, just now
                    del waiting[id]
                    fail(task, store.reason(task.run.spec))
                elif not watch.free(store.leases(task.run.spec)):
                    later[id] = time.monotonic() + _LATER_SECONDS
                else:
                    ready.append(task)
            for task in ready:
                running[task.job.id] = waiting.pop(task.job.id)
            if ready:
                executor.start([task.job for task in ready])
            for outcome in executor.ended():
                end(outcome)
            titles = tuple(task.job.title for task in running.values())
            report.show(State(done, titles, len(failed), len(later.keys() & waiting.keys()), len(tasks)))
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        report.say("ending: the runs under way save their state; Ctrl-C again ends them at once")
        try:
            executor.stop()
        except KeyboardInterrupt:
            executor.kill()
        raise
    except BaseException:
        executor.stop()
        raise
    executor.stop()
    return failed
