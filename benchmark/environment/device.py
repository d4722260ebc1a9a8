"""Choice of the device, and a warning about busy CPUs."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from stampbench.benchmark.errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device of a name: `auto` (the first GPU, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        UserError: when the name is unknown or the device is absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not number.isdecimal()) or (kind != "cuda" and colon):
        raise UserError(f"unknown device '{name}'; known: auto, cpu, cuda, cuda:N, mps", setting="device")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' is not available; use auto or cpu", setting="device")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{name}' is not available: no CUDA device; use auto or cpu", setting="device")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device '{name}' is not available: this machine has {torch.cuda.device_count()} CUDA devices",
            setting="device",
        )
    return torch.device(name)


def core_count() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_warning() -> str | None:
    """Return a warning if other processes use cores that this process is about to use; Linux only.

    The threads of a small network's training step wait for each other thousands of times, so one thread that has to
    share its core delays all of them.
    """
    load = Path("/proc/loadavg")
    threads = torch.get_num_threads()
    if not load.is_file() or threads == 1:
        return None
    running = int(load.read_text().split()[3].partition("/")[0]) - 1  # this process is one of them
    cores = core_count()
    if running + threads <= cores:
        return None
    return f"the machine is busy ({running} running processes, {cores} cores): {threads} threads may be slower than one"
