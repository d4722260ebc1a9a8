"""Energy counters of devices."""

from __future__ import annotations

from pathlib import Path

import torch

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def joules(device: torch.device) -> float | None:
    """Return the reading of a device's energy counter in joules; the difference of two readings is the energy used.

    A GPU has a counter of its own (NVML, with the package nvidia-ml-py). A CPU package's counter (RAPL) includes
    everything that runs on it, and is often readable for root only.

    Returns:
        The reading, or None if the device has no readable counter.
    """
    if device.type == "cuda":
        try:
            import pynvml

            pynvml.nvmlInit()
            uuid = str(torch.cuda.get_device_properties(device).uuid)
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
        except Exception:  # no NVML, no permission, or a device without a counter
            return None
    try:
        return int(_RAPL.read_text()) / 1e6
    except (OSError, ValueError):
        return None
