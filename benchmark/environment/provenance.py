"""Where and with what a run was made; the host's name is left out on purpose."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from stampbench.benchmark.environment.allocator import heap_kept
from stampbench.benchmark.environment.compute_settings import Compute
from stampbench.benchmark.errors import UserError

_PACKAGES = ("stampbench", "torch", "monai", "numpy", "scipy", "pandas", "nibabel", "safetensors", "pydantic")


def choose_device(name: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        UserError: another name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not number.isdecimal()) or (kind != "cuda" and colon):
        raise UserError(f"unknown device '{name}'; known: auto, cpu, cuda, cuda:N, mps")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' asked for, but there is none; --device takes auto or cpu here")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device '{name}' asked for, but no CUDA device is available; --device takes auto or cpu here")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UserError(f"device '{name}' asked for, but there are {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


def environment(compute: Compute) -> dict[str, Any]:
    """Machine, device, threads, and how they are used."""
    device = compute.device
    described = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "kernels": compute.kernels,
        "heap_kept": heap_kept(),
        "save_memory": compute.save_memory,
        "deterministic": compute.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "tf32": compute.tf32,
    }
    if device.type == "cuda":
        described |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return described


def timing_machine(device: torch.device) -> dict[str, Any]:
    """What a timing depends on besides the network; tables never mix it."""
    cuda = device.type == "cuda"
    return {
        "processor": torch.cuda.get_device_name(device) if cuda else _processor(),
        "device": str(device),
        "driver": _driver() if cuda else "",
        "clock": _clock(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tf32": torch.backends.cuda.matmul.allow_tf32 if cuda else "",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def provenance() -> dict[str, Any]:
    """Package versions, and the git commit of this source where it is a checkout."""
    here = Path(__file__).resolve()
    commit = _git(here.parent, "rev-parse", "HEAD") if _git(here.parent, "ls-files", here.name) else None
    return {
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "git_commit": commit,
        "git_dirty": bool(_git(here.parent, "status", "--porcelain")) if commit else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=10).stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _clock(device: torch.device) -> str:
    if device.type == "cuda":
        try:
            return f"{torch.cuda.clock_rate(device)} MHz"
        except (RuntimeError, ModuleNotFoundError):  # needs the NVML package
            return "clock unknown"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    rates = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return f"{max(rates):.0f} MHz" if rates else "clock unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
