"""Diagnosis of this machine: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch

from stampbench.benchmark.environment.allocator import can_keep_heap
from stampbench.benchmark.environment.cudnn import cudnn_version, objections, version_text
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.readers.path_pattern import is_here

EXTRAS = {
    "depgraph": ("torch-pruning",),
    "export": ("onnx", "onnxscript", "onnxruntime", "openvino"),
    "formats": ("highdicom", "SimpleITK"),
    "gpu": ("nvidia-ml-py",),
    "loops": ("pytorch-ignite", "pytorch-lightning"),
    "onnxruntime-cuda": ("onnx", "onnxruntime-gpu", "onnxscript"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "tensorrt": ("onnx", "onnxruntime-gpu", "onnxscript", "tensorrt"),
}
"""Packages by the extra that installs them, as in pyproject.toml."""
_FOR_A_GPU = ("onnxruntime-cuda", "tensorrt")
"""Extras that replace a package of the extra `export`, which makes sense with a GPU only."""
_REQUIRED = ("torch", "monai", "numpy", "scipy", "pandas", "nibabel", "pydantic", "safetensors", "seaborn")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "SLURM_JOB_ID")
"""Environment variables that change how PyTorch computes or what it sees."""


class Diagnosis(NamedTuple):
    """One item, its state, and what to do if the state is not sufficient.

    Attributes:
        item: What was examined.
        state: What was found.
        advice: What to do; empty if nothing has to be done.
        public: The state without paths, for an issue; None: `state` has none.
    """

    item: str
    state: str
    advice: str = ""
    public: str | None = None


def issue_block(diagnoses: Iterable[Diagnosis]) -> str:
    """Return the states as one block of markdown for an issue, without paths and advice."""
    lines = [f"{each.item:20} {each.state if each.public is None else each.public}" for each in diagnoses]
    return "\n".join(["```text", *lines, "```"])


def diagnose(data_root: Path | None, cache: Path) -> Iterator[Diagnosis]:
    """Examine everything that a run could need, without changing the process.

    Args:
        data_root: folder that holds the named datasets' folders.
        cache: folder of prepared cases.
    """
    yield Diagnosis("python", f"{platform.python_version()} on {platform.platform()}")
    yield Diagnosis("stampbench", metadata.version("stampbench"))
    for name in _REQUIRED:
        version = _version(name)
        yield Diagnosis(name, version or "missing", "" if version else f"pip install {name}")
    for name, extra in _optional().items():
        version = _version(name)
        yield Diagnosis(name, version or "missing", "" if version else f"pip install 'stampbench[{extra}]'")
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    advice = "" if threads <= cores else f"more threads than cores; set OMP_NUM_THREADS={cores}"
    yield Diagnosis("cpu", f"{cores} cores, {threads} threads, {torch.backends.cpu.get_cpu_capability()}", advice)
    variables = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    yield Diagnosis("variables", " ".join(variables) or "none set")
    yield _memory()
    yield Diagnosis("cuda", *_cuda())
    cudnn = cudnn_version()
    yield Diagnosis("cudnn", version_text(cudnn) or "none", "; ".join(objections(cudnn)))
    yield Diagnosis("mps", "available" if torch.backends.mps.is_available() else "none")
    yield Diagnosis("allocator", "can keep freed memory for reuse" if can_keep_heap() else "system allocator only")
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    advice = "" if compiler else "needed by the backend 'compile' only"
    yield Diagnosis("c++ compiler", compiler or "missing", advice, "found" if compiler else None)
    yield from _disk(cache)
    yield from _datasets(data_root)


def _optional() -> dict[str, str]:
    """Return the optional packages that make sense here, each with the first extra that installs it."""
    found: dict[str, str] = {}
    for extra, names in EXTRAS.items():
        for name in names if extra not in _FOR_A_GPU or torch.cuda.is_available() else ():
            found.setdefault(name, extra)
    return found


def _disk(cache: Path) -> Iterator[Diagnosis]:
    size = sum(each.stat().st_size for each in cache.rglob("*") if each.is_file()) / 2**30
    advice = "" if _writable(cache) else "not writable; set STAMPBENCH_CACHE"
    state = f"{size:.1f} GiB{'; not writable' if advice else ''}"
    yield Diagnosis("cache", f"{cache}, {state}", advice, state)
    for item, folder in (("disk of cache", cache), ("disk here", Path.cwd())):
        usage = shutil.disk_usage(_nearest(folder))
        free = usage.free / 2**30
        yield Diagnosis(item, f"{free:.1f} of {usage.total / 2**30:.1f} GiB free", "nearly full" if free < 1 else "")


def _datasets(data_root: Path | None) -> Iterator[Diagnosis]:
    advice = "" if data_root else "set STAMPBENCH_DATA"
    yield Diagnosis("data root", str(data_root or "not set"), advice, "set" if data_root else None)
    for name, definition in CATALOGUE.items():
        if definition.folder is None:
            yield Diagnosis(f"data {name}", "built in")
        elif data_root is not None and is_here(definition, data_root):
            yield Diagnosis(f"data {name}", str(data_root / definition.folder), public="found")
        else:
            command = "show" if definition.obtain else "download"
            yield Diagnosis(f"data {name}", "missing", f"stampbench datasets {command} {name}")


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
    free, total = kilobytes["MemAvailable"] / 2**20, kilobytes["MemTotal"] / 2**20
    return Diagnosis("memory", f"{free:.1f} of {total:.1f} GiB free")


def _cuda() -> tuple[str, str]:
    if not torch.cuda.is_available():
        built = torch.version.cuda
        return "none", "" if built is None else f"PyTorch was built for CUDA {built}, but no device is available"
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return f"{names}; CUDA {torch.version.cuda}", ""


def _writable(folder: Path) -> bool:
    return os.access(_nearest(folder), os.W_OK)


def _nearest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())
