"""Provenance of a run: machine, compute settings, package versions, git commit; never the host's name."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, Field

from stampbench.benchmark.environment.allocator import heap_kept
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.cudnn import cudnn_version, version_text
from stampbench.benchmark.environment.machine import processor

_PACKAGES = ("stampbench", "torch", "monai", "numpy", "scipy", "pandas", "nibabel", "safetensors", "pydantic")


class Environment(BaseModel, frozen=True):
    """Machine and compute settings of a run."""

    python: str = Field(description="version of Python")
    system: str = Field(description="operating system")
    processor: str = Field(description="model name of the CPU")
    cores: int | None = Field(description="CPU cores of the machine")
    threads: int = Field(description="CPU threads of the run")
    device: str = Field(description="cpu, cuda:N or mps")
    # Records from before there was a choice have no such key; there were plain kernels only.
    kernels: str = Field("plain", description="fast or plain kernels")
    heap_kept: bool = Field(False, description="whether glibc kept freed memory for reuse")
    save_memory: bool = Field(False, description="whether activation checkpointing was on")
    deterministic: bool = Field(False, description="whether deterministic algorithms were required")
    cudnn_benchmark: bool = Field(False, description="whether cuDNN chose convolutions by timing them")
    tf32: bool = Field(False, description="whether TF32 was allowed")
    gpu: str | None = Field(None, description="name of the GPU; null on a CPU")
    cuda: str | None = Field(None, description="version of CUDA; null on a CPU")
    cudnn: str | None = Field(None, description="version of cuDNN; null on a CPU, and in older records")


class Provenance(BaseModel, frozen=True):
    """Versions of the code that made a record."""

    packages: dict[str, str] = Field(description="versions of the packages that results depend on")
    git_commit: str | None = Field(None, description="commit of stampbench's checkout; null for an installed package")
    git_dirty: bool | None = Field(None, description="whether the checkout had uncommitted changes")


def environment(compute: ComputeSettings) -> Environment:
    """Describe this process as it computes with `compute`."""
    import torch  # it takes a second, which reading records does not have

    device = compute.torch_device
    cuda = device.type == "cuda"
    return Environment(
        python=platform.python_version(),
        system=platform.platform(),
        processor=processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        device=str(device),
        kernels=compute.kernels,
        heap_kept=heap_kept(),
        save_memory=compute.save_memory,
        deterministic=compute.deterministic,
        cudnn_benchmark=torch.backends.cudnn.benchmark,
        tf32=compute.tf32,
        gpu=torch.cuda.get_device_name(device) if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        cudnn=version_text(cudnn_version()) if cuda else None,
    )


def provenance() -> Provenance:
    """Return package versions, and the git commit if this source file is in a checkout."""
    here = Path(__file__).resolve()
    commit = _git(here.parent, "rev-parse", "HEAD") if _git(here.parent, "ls-files", here.name) else None
    return Provenance(
        packages={name: metadata.version(name) for name in _PACKAGES},
        git_commit=commit,
        git_dirty=bool(_git(here.parent, "status", "--porcelain")) if commit else None,
    )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
