"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.path_pattern import is_here

EXTRAS = {
    "depgraph": ("torch-pruning",),
    "export": ("onnx", "onnxscript", "onnxruntime", "openvino"),
}
"""Packages by the extra that brings them, as in pyproject.toml."""
_NEEDED = ("torch", "monai", "numpy", "scipy", "pandas", "nibabel", "pydantic", "safetensors", "seaborn")


class Diagnosis(NamedTuple):
    """One thing, what was found of it, and what to do if that is not enough."""

    what: str
    found: str
    advice: str = ""


def diagnose(data_root: Path | None, cache: Path) -> Iterator[Diagnosis]:
    """Look at everything that a run could need."""
    yield Diagnosis("python", f"{platform.python_version()} on {platform.platform()}")
    yield Diagnosis("stampbench", metadata.version("stampbench"))
    for name in _NEEDED:
        found = _version(name)
        yield Diagnosis(name, found or "missing", "" if found else f"pip install {name}")
    for extra, names in EXTRAS.items():
        for name in names:
            found = _version(name)
            yield Diagnosis(name, found or "missing", "" if found else f"pip install 'stampbench[{extra}]'")
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    advice = "" if threads <= cores else f"more threads than cores; set --threads {cores} or OMP_NUM_THREADS"
    yield Diagnosis("cpu", f"{cores} cores, {threads} threads, {torch.backends.cpu.get_cpu_capability()}", advice)
    yield _memory()
    yield Diagnosis("cuda", *_cuda())
    mps = torch.backends.mps.is_available()
    yield Diagnosis("mps", "available" if mps else "none")
    yield Diagnosis("allocator", "heap can be kept" if keep_heap() else "system only", "")
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    yield Diagnosis(
        "c++ compiler", compiler or "missing", "" if compiler else "needed by 'latency --backend compile' only"
    )
    yield Diagnosis("cache", str(cache), "" if _writable(cache) else "cannot be written; set STAMPBENCH_CACHE")
    yield from _datasets(data_root)


def _datasets(data_root: Path | None) -> Iterator[Diagnosis]:
    where = str(data_root) if data_root else "none given"
    yield Diagnosis("data root", where, "" if data_root else "set STAMPBENCH_DATA or --data-root")
    for name, definition in CATALOGUE.items():
        if definition.folder is None:
            yield Diagnosis(f"data {name}", "built in")
        elif data_root is not None and is_here(definition, data_root):
            yield Diagnosis(f"data {name}", str(data_root / definition.folder))
        else:
            how = "show" if definition.obtain else "download"
            yield Diagnosis(f"data {name}", "missing", f"stampbench datasets {how} {name}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> Diagnosis:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return Diagnosis("memory", "unknown")
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in info.read_text().splitlines() if line.split()[1:]}
    free, whole = kilobytes["MemAvailable"] / 2**20, kilobytes["MemTotal"] / 2**20
    return Diagnosis("memory", f"{free:.1f} of {whole:.1f} GiB free")


def _cuda() -> tuple[str, str]:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        return "none", "" if built is None else f"PyTorch was built for CUDA {built}, but no device answers"
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return f"{names}; CUDA {torch.version.cuda}", ""


def _writable(folder: Path) -> bool:
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    return os.access(nearest, os.W_OK)
