"""Several runs at once on one device, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from stampbench.benchmark.runner import Run
from stampbench.benchmark.store import RunStore

_POLL_SECONDS = 0.2


def run_in_processes(
    todo: Sequence[Run], store: RunStore, processes: int, arguments: Sequence[str], say: Callable[[str], None]
) -> int:
    """Execute runs in `processes` processes at a time, sources before what builds on them.

    These networks are so small that one of them leaves most of a device idle.

    Args:
        todo: sources first; a run starts when its sources are finished.
        arguments: of `stampbench`, to which `--only ID` is added.
        say: told every line that a run prints.

    Returns:
        How many runs failed. Interrupted, the runs save their state first, and KeyboardInterrupt goes on.
    """
    waiting, running, failed = list(todo), dict[str, _Child](), set[str]()
    try:
        while waiting or running:
            for run in list(waiting):
                sources = {source.spec.id for source in run.sources.values()}
                if sources & failed:
                    waiting.remove(run)
                    failed.add(run.spec.id)
                    say(f"{run.spec.id}  {run.title}: left out: a source failed")
                elif (
                    len(running) < processes
                    and not sources & (set(running) | {each.spec.id for each in waiting})
                    and _finished(run, store)
                ):
                    waiting.remove(run)
                    running[run.spec.id] = _start([*arguments, "--only", run.spec.id])
            if waiting and not running:  # what it builds on is neither finished nor under way
                stuck = waiting.pop(0)
                failed.add(stuck.spec.id)
                say(f"{stuck.spec.id}  {stuck.title}: left out: a source is not finished")
            time.sleep(_POLL_SECONDS)
            for run_id, child in list(running.items()):
                if child.process.poll() is not None:
                    del running[run_id]
                    child.output.seek(0)
                    for line in child.output.read().splitlines():
                        say(line)
                    child.output.close()
                    if child.process.returncode:
                        failed.add(run_id)
    finally:
        for child in running.values():
            child.process.terminate()  # answered like Ctrl-C: the state is written
        for child in running.values():
            child.process.wait()
            child.output.close()
    return len(failed)


def _finished(run: Run, store: RunStore) -> bool:
    return all(store.status(source.spec) == "finished" for source in run.sources.values())


class _Child(NamedTuple):
    """A run's process and the file of all it prints, which unlike a pipe never fills up."""

    process: subprocess.Popen[str]
    output: IO[str]


def _start(arguments: Sequence[str]) -> _Child:
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when the run has ended)
    # A session of its own: Ctrl-C reaches the runs through this process alone, once.
    process = subprocess.Popen(
        [sys.executable, "-m", "stampbench.benchmark", *arguments],
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return _Child(process, output)
