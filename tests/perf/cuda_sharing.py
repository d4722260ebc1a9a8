"""Several processes that use one GPU at once, under NVIDIA's multi-process service (MPS), on cores of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"


@contextmanager
def multi_process_service(folder: Path) -> Iterator[dict[str, str] | None]:
    """Start the service, and stop it at the end.

    Args:
        folder: where the service keeps its pipes and logs; its path must be short.

    Yields:
        Environment variables of processes that use it, or None where it is not installed or may not be started.
    """
    command = shutil.which(CONTROL)
    if command is None:
        yield None
        return
    own = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "log")}
    for each in own.values():
        Path(each).mkdir(parents=True)
    environment = os.environ | own
    started = subprocess.run([command, "-d"], env=environment, capture_output=True, timeout=60)
    try:
        yield own if started.returncode == 0 else None
    finally:
        subprocess.run([command], input=b"quit\n", env=environment, capture_output=True, timeout=60)


def pin(processes: Sequence[int]) -> None:
    """Give each process cores of its own, as far as there are enough; Linux only."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(len(cores) // len(processes), 1)
    for number, process in enumerate(processes):
        first = number * share % len(cores)
        os.sched_setaffinity(process, cores[first : first + share])
