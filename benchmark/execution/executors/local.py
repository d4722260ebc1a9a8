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

from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Machine

_WATCH_SECONDS = 1.0


class LocalExecutor:
    """`jobs` worker processes, which share the threads of the machine and take turns on its GPUs.

    These networks are so small that one of them leaves most of a device idle. A worker that dies is replaced.
    """

    def __init__(self, machine: Machine, jobs: int, gpus: int = 0) -> None:
        """`gpus` is how many to share out; 0 leaves the device as the machine has it."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = machine.threads or max(cores // jobs, 1)
        self._machines = [
            machine.model_copy(update={"threads": threads} | ({"device": f"cuda:{slot % gpus}"} if gpus else {}))
            for slot in range(jobs)
        ]
        self._pools: list[ProcessPoolExecutor | None] = [None] * jobs
        self._pids: dict[int, int] = {}
        self._running: dict[int, tuple[Job, Future[Outcome]]] = {}
        self._dead: list[Outcome] = []

    @property
    def free(self) -> int:
        return len(self._pools) - len(self._running)

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            slot = next(each for each in range(len(self._pools)) if each not in self._running)
            try:
                self._running[slot] = (job, self._pool(slot).submit(_attempt, job, self._machines[slot]))
            except BrokenProcessPool:  # it died while it had nothing to do
                self._pools[slot] = None
                self._dead.append(Outcome(job.id, lost="its process died before it began"))

    def ended(self) -> list[Outcome]:
        outcomes, self._dead = self._dead, []
        for slot, (job, future) in list(self._running.items()):
            if not future.done():
                continue
            del self._running[slot]
            try:
                outcomes.append(future.result())
            except BrokenProcessPool:
                self._pools[slot] = None
                outcomes.append(Outcome(job.id, lost="its process was killed; memory may have run out"))
            except KeyboardInterrupt:
                outcomes.append(Outcome(job.id, lost="its process was told to end"))
        return outcomes

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        pool = self._pools[slot]
        if pool is None:
            # A pool of one for each, so that the death of one worker breaks nobody else's.
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
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
"""Set in a worker while it is at a run."""


def _attempt(job: Job, machine: Machine) -> Outcome:
    _busy.set()
    try:
        return attempt(job, machine)
    finally:
        _busy.clear()


def _begin(parent: int) -> None:
    """A worker saves its state and ends when it is told to, or its parent is gone; Ctrl-C reaches the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        if _busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        while _busy.is_set():
            time.sleep(_WATCH_SECONDS)
        os._exit(1)  # nobody waits for it any more

    threading.Thread(target=watch, daemon=True).start()
