"""Several runs at a time on this machine, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from stampbench.benchmark.environment.device import core_count
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings

_WATCH_SECONDS = 1.0


class LocalExecutor:
    """Worker processes that share out the machine's threads and GPUs; a worker that dies is replaced.

    One small network leaves most of a device idle, so several runs share it.

    Args:
        settings: store, data and compute settings.
        jobs: number of workers.
        gpus: number of GPUs to share out; 0: the device of the compute settings.
    """

    poll_seconds = 0.2

    def __init__(self, settings: WorkerSettings, jobs: int, gpus: int = 0) -> None:
        threads = settings.compute.threads or max(core_count() // jobs, 1)
        self._settings = [
            settings.with_compute(threads=threads, **({"device": f"cuda:{slot % gpus}"} if gpus else {}))
            for slot in range(jobs)
        ]
        self._pools: list[ProcessPoolExecutor | None] = [None] * jobs
        self._pids: dict[int, int] = {}
        self._running: dict[int, tuple[Job, Future[Outcome]]] = {}
        self._dead: list[Outcome] = []

    @property
    def free(self) -> int:
        """Number of idle workers."""
        return len(self._pools) - len(self._running)

    def start(self, tasks: Sequence[Task]) -> None:
        """Give each task to an idle worker."""
        for job in (task.job for task in tasks):
            slot = next(each for each in range(len(self._pools)) if each not in self._running)
            try:
                self._running[slot] = (job, self._pool(slot).submit(_attempt, job, self._settings[slot]))
            except BrokenProcessPool:  # the worker died while it was idle
                self._pools[slot] = None
                self._dead.append(Outcome(job.id, lost="its worker died before it started"))

    def ended(self) -> list[Outcome]:
        """Return the outcomes since the last call, without waiting."""
        outcomes, self._dead = self._dead, []
        for slot, (job, future) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[slot]
            try:
                outcomes.append(future.result())
            except BrokenProcessPool:
                self._pools[slot] = None
                outcomes.append(Outcome(job.id, lost="its worker was killed; memory may have run out"))
            except KeyboardInterrupt:
                outcomes.append(Outcome(job.id, lost="its worker was terminated"))
        return outcomes

    def stop(self) -> None:
        """Terminate running workers, which save their state, and wait for all."""
        self._signal(signal.SIGTERM)
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def kill(self) -> None:
        """Kill running workers."""
        self._signal(signal.SIGKILL)

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        pool = self._pools[slot]
        if pool is None:
            # One pool per worker, so that the death of one worker does not break the others.
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _initialise, (os.getpid(),))
            self._pools[slot] = pool
            self._pids[slot] = pool.submit(os.getpid).result()
        return pool

    def _signal(self, number: int) -> None:
        for slot in self._running:
            try:
                os.kill(self._pids[slot], number)
            except ProcessLookupError:
                continue


_busy = threading.Event()
"""Set in a worker while it executes a run."""


def _attempt(job: Job, settings: WorkerSettings) -> Outcome:
    _busy.set()
    try:
        return attempt(job, settings)
    finally:
        _busy.clear()


def _initialise(parent: int) -> None:
    """Let SIGTERM, or the end of the parent process, save the state and end the worker; ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        if _busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        while _busy.is_set():
            time.sleep(_WATCH_SECONDS)
        os._exit(1)  # no process waits for this one

    threading.Thread(target=watch, daemon=True).start()
