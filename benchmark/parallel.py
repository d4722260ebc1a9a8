"""Several runs at once on one device, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

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
    waiting, running, failed = list(todo), dict[str, subprocess.Popen[str]](), set[str]()
    try:
        while waiting or running:
            for run in list(waiting):
                sources = {source.spec.id for source in run.sources.values()}
                if sources & failed:
                    waiting.remove(run)
                    failed.add(run.spec.id)
                    say(f"{run.spec.id}  {run.title}: left out: a source failed")
                elif len(running) < processes and _finished(run, store):
                    waiting.remove(run)
                    running[run.spec.id] = _start([*arguments, "--only", run.spec.id])
            time.sleep(_POLL_SECONDS)
            for run_id, process in list(running.items()):
                if process.poll() is not None:
                    del running[run_id]
                    out, err = process.communicate()
                    for line in (*out.splitlines(), *err.splitlines()):
                        say(line)
                    if process.returncode:
                        failed.add(run_id)
    finally:
        for process in running.values():
            process.terminate()  # answered like Ctrl-C: the state is written
        for process in running.values():
            process.wait()
    return len(failed)


def _finished(run: Run, store: RunStore) -> bool:
    return all(store.status(source.spec) == "finished" for source in run.sources.values())


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    # A session of its own: Ctrl-C reaches the runs through this process alone, once.
    return subprocess.Popen(
        [sys.executable, "-m", "stampbench.benchmark", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
