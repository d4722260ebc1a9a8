"""The energy a device has used so far, where it says so."""

from __future__ import annotations

from pathlib import Path

import torch

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def joules(device: torch.device) -> float | None:
    """A counter that only grows; two readings tell what happened between them.

    A GPU's own counter (NVML), else the processor package's (RAPL, which often only root may read, and which
    counts everything that runs there). None where nobody counts.
    """
    if device.type == "cuda":
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(device).uuid)
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except Exception:  # no NVML, no permission, or a device that does not count
            return None
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None
