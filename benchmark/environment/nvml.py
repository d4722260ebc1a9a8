"""State of an NVIDIA GPU: clock, temperature, power, throttling and energy, read by NVML (package nvidia-ml-py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

THROTTLING = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "thermal slowdown by software",
    0x40: "thermal slowdown by hardware",
    0x80: "power brake",
}
"""NVML's reasons of a reduced clock that disturb a timing; an idle GPU and clocks that a user set are none."""


class GpuState(NamedTuple):
    """What NVML says of a GPU at one moment; None: the GPU does not report it.

    Attributes:
        sm_mhz: clock of the multiprocessors in MHz.
        celsius: temperature in °C.
        watts: power in W.
        throttling: reasons of a reduced clock; empty: there are none.
    """

    sm_mhz: float | None
    celsius: float | None
    watts: float | None
    throttling: tuple[str, ...]


class Gpu:
    """A GPU as NVML knows it."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle

    def state(self) -> GpuState:
        """Read clock, temperature, power and reasons of throttling."""
        library = self._library
        watts = self._read("nvmlDeviceGetPowerUsage")
        # The function was renamed; older versions of the package have the old name only.
        bits = self._read("nvmlDeviceGetCurrentClocksEventReasons")
        bits = self._read("nvmlDeviceGetCurrentClocksThrottleReasons") if bits is None else bits
        return GpuState(
            self._read("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
            self._read("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
            None if watts is None else watts / 1000,
            tuple(name for bit, name in THROTTLING.items() if int(bits or 0) & bit),
        )

    def joules(self) -> float | None:
        """Read the energy counter; None: the GPU has none."""
        energy = self._read("nvmlDeviceGetTotalEnergyConsumption")
        return None if energy is None else energy / 1000

    def _read(self, function: str, *arguments: Any) -> float | None:
        try:
            return float(getattr(self._library, function)(self._handle, *arguments))
        except Exception:  # not supported by this GPU, driver or version of the package
            return None


def open_gpu(device: torch.device) -> Gpu | None:
    """Return the GPU of a PyTorch device; None: it is not an NVIDIA GPU, or the package nvidia-ml-py is missing."""
    if device.type != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid if "-" in uuid[:4] else f"GPU-{uuid}"))
    except Exception:  # no NVML, or no permission
        return None


def unread_warning(device: torch.device) -> str | None:
    """Return a warning if the state of a GPU cannot be read, so that throttled rounds are not noticed."""
    if device.type != "cuda" or open_gpu(device) is not None:
        return None
    return (
        "the GPU's clock and throttling cannot be read, so that no round is discarded; "
        "run: pip install 'stampbench[gpu]'"
    )


def state_reader(device: torch.device) -> Callable[[], GpuState | None]:
    """Return a function that reads the state of a device; it returns None where there is nothing to read."""
    gpu = open_gpu(device)
    return (lambda: None) if gpu is None else gpu.state
