"""How a run is computed; none of it is part of what the run is."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from stampbench.benchmark import allocator
from stampbench.models.network import Kernels


class Compute(NamedTuple):
    """The device; which kernels (see `stampbench.models.fused`); whether activations are computed twice to save memory.

    Results of one and the other agree to rounding. A resumed run ends bit for bit the same only under the
    same kernels, on the CPU, with the same number of threads.
    """

    device: torch.device = torch.device("cpu")
    kernels: Kernels = "fast"
    save_memory: bool = False


def set_up_process(threads: int | None, *, keep_heap: bool) -> None:
    """What holds for the whole process: CPU threads (None: PyTorch's choice) and the allocator."""
    if threads is not None:
        torch.set_num_threads(threads)
    if keep_heap:
        allocator.keep_heap()


def busy_warning() -> str | None:
    """What to say when other programs use the cores that this one is about to.

    The threads of a step of a small network wait for each other thousands of times; one that has to share
    its core holds up all.
    """
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if threads == 1 or load + threads <= cores + 0.5:
        return None
    return f"the machine is busy (load {load:.1f} on {cores} cores): {threads} threads may be slower than --threads 1"
