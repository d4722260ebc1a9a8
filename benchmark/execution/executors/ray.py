"""Runs as tasks of a Ray cluster, which places them, retries them and accounts for CPUs and GPUs."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import ray

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings

_RETRIES = 10
"""How often Ray retries a task whose worker or node is lost; the run resumes from its saved state."""


class RayExecutor:
    """A Ray task per run, which requests CPUs (the threads of the settings) and a fraction of a GPU.

    Store, data and package must be available on every node.

    Args:
        settings: store, data and compute settings.
        address: address of the cluster; None: the one around, or a new one on this machine.
        gpus: fraction of a GPU per run.

    Raises:
        UserError: when no cluster can be reached, or no node has enough CPUs or GPUs.
    """

    poll_seconds = 0.2

    def __init__(self, settings: WorkerSettings, address: str | None = None, gpus: float = 0.0) -> None:
        threads = settings.compute.threads or 1
        try:
            _reach(address)
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"Ray address '{address}': no cluster can be reached ({reason})", setting="ray_address"
            ) from error
        most = {
            what: max((node["Resources"].get(what, 0) for node in ray.nodes()), default=0) for what in ("CPU", "GPU")
        }
        for setting, what, asked in (("threads", "CPU", threads), ("gpus", "GPU", gpus)):
            if asked > most[what]:
                raise UserError(
                    f"{setting}={asked:g}: no node of the cluster has more than {most[what]:g} {what}s", setting=setting
                )
        self._settings = settings.with_compute(threads=threads, **({"device": "cuda"} if gpus else {}))
        self._task = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=_RETRIES)(attempt)
        self._running: dict[Any, Job] = {}

    @property
    def free(self) -> int:
        """Twice the cluster's capacity, less the running tasks, so that no node waits for the scheduler."""
        cpus = int(ray.cluster_resources().get("CPU", 1)) // (self._settings.compute.threads or 1)
        return max(2 * max(cpus, 1) - len(self._running), 0)

    def start(self, tasks: Sequence[Task]) -> None:
        """Submit tasks."""
        self._running |= {self._task.remote(task.job, self._settings): task.job for task in tasks}

    def ended(self) -> list[Outcome]:
        """Return the outcomes since the last call."""
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
        """Cancel running tasks, which save their state, and wait up to a minute."""
        for each in self._running:
            ray.cancel(each)  # KeyboardInterrupt in the task, which saves its state
        ray.wait(list(self._running), num_returns=len(self._running), timeout=60) if self._running else None

    def kill(self) -> None:
        """Cancel running tasks at once."""
        for each in self._running:
            ray.cancel(each, force=True)


def _reach(address: str | None) -> None:
    """Connect once, because Ray itself waits minutes for a cluster that does not exist.

    Raises:
        ValueError, OSError: when the address is not valid or not reachable.
    """
    if address is None or address in ("auto", "local") or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("an address such as 10.0.0.1:6379 is expected")
    socket.create_connection((host, int(port)), timeout=5).close()
