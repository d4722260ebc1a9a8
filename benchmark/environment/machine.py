"""Facts about this machine that timings depend on."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    import torch


class TimingMachine(BaseModel, frozen=True):
    """What a timing depends on besides the network: columns of `latency.csv`; tables never mix them."""

    processor: str = Field(description="model name of the CPU or GPU")
    device: str = Field(description="cpu, cuda:N or mps")
    driver: str = Field(description="version of the GPU's driver; empty on a CPU")
    clock: str = Field(description="clock frequency at the time")
    threads: int = Field(description="CPU threads")
    torch: str = Field(description="version of PyTorch")
    tf32: bool | None = Field(description="whether TF32 was allowed; empty on a CPU")
    measured: str = Field(description="time of the measurement, UTC")


def processor() -> str:
    """Return the CPU's model name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def timing_machine(device: torch.device) -> TimingMachine:
    """Describe this machine, as it computes on a device."""
    import torch  # it takes a second, which reading records does not have

    cuda = device.type == "cuda"
    return TimingMachine(
        processor=torch.cuda.get_device_name(device) if cuda else processor(),
        device=str(device),
        driver=_driver() if cuda else "",
        clock=_clock(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        tf32=torch.backends.cuda.matmul.allow_tf32 if cuda else None,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _driver() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, timeout=10).stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _clock(device: torch.device) -> str:
    if device.type == "cuda":
        import torch

        try:
            return f"{torch.cuda.clock_rate(device)} MHz"
        except (RuntimeError, ModuleNotFoundError):  # it needs the NVML package
            return "clock unknown"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    rates = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return f"{max(rates):.0f} MHz" if rates else "clock unknown"
