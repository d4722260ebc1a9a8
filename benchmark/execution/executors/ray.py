"""Runs as tasks of a Ray cluster: its scheduling, its retries, its accounting of CPUs and GPUs."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import ray

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Machine

_RETRIES = 10
"""How often Ray gives a task whose worker or node is lost to another; it goes on from its resume state."""


class RayExecutor:
    """A task per run, with its request of CPUs (the machine's threads) and of a fraction of a GPU.

    The store, the data and the package have to be where every node finds them.
    """

    def __init__(self, machine: Machine, address: str | None = None, gpus: float = 0.0) -> None:
        """Raises:
        UserError: there is no cluster at `address` (None: the one around, or a new one on this machine).
        """
        threads = machine.threads or 1
        try:
            _reach(address)
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"--ray-address '{address}': no cluster can be reached ({reason})") from error
        most = {
            what: max((node["Resources"].get(what, 0) for node in ray.nodes()), default=0) for what in ("CPU", "GPU")
        }
        for option, what, asked in (("--threads", "CPU", threads), ("--gpus", "GPU", gpus)):
            if asked > most[what]:
                raise UserError(f"{option} {asked:g}: no node of the cluster has more than {most[what]:g} {what}s")
        self._machine = machine.model_copy(update={"threads": threads, "device": "cuda" if gpus else machine.device})
        self._task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=_RETRIES)(attempt)
        self._running: dict[Any, Job] = {}

    @property
    def free(self) -> int:
        """Twice what the cluster can run at a time, so that no node waits for this process."""
        cpus = int(ray.cluster_resources().get("CPU", 1)) // (self._machine.threads or 1)
        return max(2 * max(cpus, 1) - len(self._running), 0)

    def start(self, jobs: Sequence[Job]) -> None:
        self._running |= {self._task.remote(job, self._machine): job for job in jobs}

    def ended(self) -> list[Outcome]:
        if not self._running:
            return []
        done, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0.1)
        outcomes = []
        for each in done:
            job = self._running.pop(each)
            try:
                outcomes.append(ray.get(each))
            except ray.exceptions.RayError as error:
                outcomes.append(Outcome(job.id, lost=f"Ray lost it ({type(error).__name__})"))
        return outcomes

    def stop(self) -> None:
        for each in self._running:
            ray.cancel(each)  # KeyboardInterrupt in the task, which saves its state
        ray.wait(list(self._running), num_returns=len(self._running), timeout=60) if self._running else None

    def kill(self) -> None:
        for each in self._running:
            ray.cancel(each, force=True)


def _reach(address: str | None) -> None:
    """Ray itself waits for minutes for a cluster that is not there."""
    if address is None or address in ("auto", "local") or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("an address such as 10.0.0.1:6379 is expected")
    socket.create_connection((host, int(port)), timeout=5).close()
