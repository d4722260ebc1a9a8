"""How a run is computed; none of it is part of what the run is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from stampbench.benchmark.environment import allocator
from stampbench.benchmark.errors import UserError
from stampbench.models.network import Kernels

Precision = Literal["fp32", "bf16", "fp16"]
HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What convolutions are autocast to; with fp32 nothing is."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raises UserError for half floats on a CPU, which has no loss scaling to need them for."""
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision 'fp16' needs a GPU; fp32 and bf16 run on the CPU")


class Compute(NamedTuple):
    """The device, the kernels (see `stampbench.models.cpu_kernels`), activation checkpointing.

    Results of one and the other agree to rounding. A resumed run ends bit for bit the same only under the
    same kernels, on the CPU, with the same number of threads.
    """

    device: torch.device = torch.device("cpu")
    kernels: Kernels = "fast"
    save_memory: bool = False
    deterministic: bool = False
    tf32: bool = False
    timed: bool = True
    """Whether a run measures its network's latency, which means nothing where other runs share the device."""
    save_every: float = 10.0
    """Seconds of training that are lost at most when a process is killed."""


def set_up_process(threads: int | None, *, keep_heap: bool, deterministic: bool = False, tf32: bool = False) -> None:
    """What holds for the whole process: CPU threads (None: PyTorch's choice), the allocator, and a GPU's freedoms.

    `deterministic` refuses operations whose result depends on timing; without it cuDNN may choose the fastest
    convolution by trying. `tf32` lets a GPU round the inputs of convolutions to ten bits.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    if threads is not None:
        torch.set_num_threads(threads)
    if keep_heap:
        allocator.keep_heap()


def busy_warning() -> str | None:
    """What to say when other programs use the cores that this one is about to; Linux only.

    The threads of a step of a small network wait for each other thousands of times; one that has to share
    its core holds up all.
    """
    load = Path("/proc/loadavg")
    if not load.is_file() or torch.get_num_threads() == 1:
        return None
    running = int(load.read_text().split()[3].partition("/")[0]) - 1  # this program itself is one of them
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    if running + threads <= cores:
        return None
    return f"the machine is busy ({running} running on {cores} cores): {threads} threads may be slower than --threads 1"
