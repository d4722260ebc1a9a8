"""Energy counters of devices."""

from __future__ import annotations

from pathlib import Path

import torch

from stampbench.benchmark.environment.nvml import open_gpu

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def joules(device: torch.device) -> float | None:
    """Return the reading of a device's energy counter in joules; the difference of two readings is the energy used.

    A GPU has a counter of its own (NVML, with the package nvidia-ml-py). A CPU package's counter (RAPL) includes
    everything that runs on it, and is often readable for root only.

    Returns:
        The reading, or None if the device has no readable counter.
    """
    if device.type == "cuda":
        gpu = open_gpu(device)
        return None if gpu is None else gpu.joules()
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None
