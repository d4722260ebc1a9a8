"""Inference backends whose latency is compared: PyTorch, this package's kernels, CUDA graphs, and runtimes of ONNX."""

from __future__ import annotations

import copy
import shutil
from typing import Literal

import torch
from torch import Tensor

from stampbench.benchmark.environment.instructions import check_instructions
from stampbench.benchmark.environment.precision import HALF, Precision, check_precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.cuda_graph import CapturedCall
from stampbench.benchmark.measure.memory import allocated_peak
from stampbench.benchmark.measure.onnx_backends import check_packages, open_onnx
from stampbench.benchmark.measure.session import Session
from stampbench.models.folded import folded
from stampbench.models.model import Model
from stampbench.models.tracing.traced import TracedModel

Backend = Literal["eager", "fast", "compile", "cudagraph", "onnxruntime", "onnxruntime-cuda", "tensorrt", "openvino"]
BACKENDS: dict[Backend, str] = {
    "eager": "PyTorch's modules in the default layout",
    "fast": "this package's kernels on a CPU, as `stampbench predict` uses them",
    "compile": "torch.compile; needs a C++ compiler and half a minute per network",
    "cudagraph": "PyTorch's modules, recorded and replayed as a CUDA graph",
    "onnxruntime": "ONNX Runtime on the CPU",
    "onnxruntime-cuda": "ONNX Runtime on a GPU, with cuDNN's exhaustive search",
    "tensorrt": "TensorRT, through ONNX Runtime",
    "openvino": "OpenVINO on the CPU",
}
_CPU_ONLY = {"fast": "eager", "onnxruntime": "onnxruntime-cuda", "openvino": "tensorrt"}
"""Backends of a CPU, and what is nearest on a GPU."""
_CUDA_ONLY = {"cudagraph": "eager", "onnxruntime-cuda": "onnxruntime", "tensorrt": "openvino"}
"""Backends of a GPU, and what is nearest on a CPU."""
_PRECISIONS: dict[Backend, tuple[Precision, ...]] = {
    "onnxruntime": ("fp32", "int8"),
    "onnxruntime-cuda": ("fp32", "fp16"),
    "openvino": ("fp32", "bf16", "int8"),
}
"""Precisions of backends that do not have just fp32, bf16 and fp16."""


def check_backend(device: torch.device, backend: Backend, precision: Precision) -> None:
    """Check that a backend supports a device and a precision.

    Raises:
        UserError: when it does not, or a package is missing.
    """
    check_precision(precision, device)
    if backend in _CPU_ONLY and device.type != "cpu":
        nearest = f"the nearest there is '{_CPU_ONLY[backend]}'"
        raise UserError(f"backend '{backend}' runs on the CPU only, not on '{device.type}'; {nearest}")
    if backend in _CUDA_ONLY and device.type != "cuda":
        nearest = f"the nearest there is '{_CUDA_ONLY[backend]}'"
        raise UserError(f"backend '{backend}' needs a CUDA device, not '{device.type}'; {nearest}")
    precisions = _PRECISIONS.get(backend, ("fp32", *HALF))
    if precision not in precisions:
        known = ", ".join(precisions)
        raise UserError(f"backend '{backend}' does not support precision '{precision}'; it supports {known}")
    if backend in ("onnxruntime", "onnxruntime-cuda", "tensorrt", "openvino"):
        check_packages(backend, precision)
        if device.type == "cpu":
            check_instructions(precision)
    if backend == "compile" and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise UserError("backend 'compile' needs a C++ compiler, and none is installed")


def default_backends(device: torch.device) -> list[Backend]:
    """Return `eager`, on a GPU `cudagraph`, and ONNX Runtime if it is installed for the device."""
    on_gpu = device.type == "cuda"
    runtime: Backend = "onnxruntime-cuda" if on_gpu else "onnxruntime"
    found: list[Backend] = ["eager", "cudagraph"] if on_gpu else ["eager"]
    try:
        check_backend(device, runtime, "fp32")
    except UserError:
        return found
    return [*found, runtime]


def open_session(model: Model, images: Tensor, backend: Backend, precision: Precision) -> Session:
    """Prepare a network for timing.

    In int8, activations get their ranges from the batch itself: the time does not depend on values.

    Args:
        model: the network.
        images: one batch `(N, channels, *spatial)` on the device to time.
        backend: name of the backend.
        precision: name of the precision.

    Raises:
        UserError: when the backend does not support the device or precision, or a package is missing.
    """
    check_backend(images.device, backend, precision)
    if backend in ("eager", "fast", "compile", "cudagraph"):
        return _torch(model, images, backend, precision)
    return open_onnx(model, images, backend, precision)


def _torch(model: Model, images: Tensor, backend: Backend, precision: Precision) -> Session:
    if backend == "fast" and isinstance(model, TracedModel) and not model.has_fast_kernels:
        raise UserError(f"backend 'fast': network '{model.architecture.name}' has no fast kernels; 'eager' is the same")
    network = copy.deepcopy(model).to(images.device).eval()
    network.kernels = "fast" if backend == "fast" else "plain"
    if backend == "fast" and precision == "fp32":
        network = folded(network)  # as in prediction
    if backend == "compile":
        network.compile()
    half = HALF.get(precision)
    # A graph must not depend on copies of weights that autocast keeps outside it.
    keeps_copies = backend != "cudagraph"

    def call() -> object:
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, half, enabled=half is not None, cache_enabled=keeps_copies),
        ):
            return network(images)

    kept = sum(each.nbytes for each in network.state_dict().values()) + images.nbytes
    allocated = allocated_peak(call, images.device, kept)
    ready = CapturedCall(call, images.device) if backend == "cudagraph" else call
    return Session(ready, "channels-last" if backend == "fast" else "channels-first", allocated)
