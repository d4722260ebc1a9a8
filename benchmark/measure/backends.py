"""Inference backends whose latency is compared: PyTorch, this package's kernels, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from stampbench.benchmark.environment.precision import HALF, Precision, check_precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import exported_program, onnx_session, require, write_onnx
from stampbench.models.model import Model
from stampbench.models.traced import TracedModel

Backend = Literal["eager", "fast", "compile", "onnxruntime", "openvino"]
BACKENDS: dict[Backend, str] = {
    "eager": "PyTorch's modules in the default layout",
    "fast": "this package's kernels for training and prediction on a CPU",
    "compile": "torch.compile; needs a C++ compiler and half a minute per network",
    "onnxruntime": "ONNX Runtime on the CPU",
    "openvino": "OpenVINO on the CPU",
}


class Session(NamedTuple):
    """A network that is ready to be timed: each call computes one batch; `layout` is its tensors' memory layout."""

    call: Callable[[], object]
    layout: str


def check_backend(device: torch.device, backend: Backend, precision: Precision) -> None:
    """Check that a backend supports a device and a precision.

    Raises:
        UserError: when it does not, or a package is missing.
    """
    check_precision(precision, device)
    if backend in ("onnxruntime", "openvino"):
        if device.type != "cpu":
            raise UserError(f"backend '{backend}' runs on the CPU only, not on '{device.type}'")
        if precision != "fp32" and (backend, precision) != ("openvino", "bf16"):
            raise UserError(f"backend '{backend}' does not support precision '{precision}'")
        require("onnx", "onnxscript", backend)
    if backend == "fast" and device.type != "cpu":
        raise UserError("backend 'fast' runs on the CPU only; elsewhere it is the same as 'eager'")
    if backend == "compile" and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise UserError("backend 'compile' needs a C++ compiler, and none is installed")


def default_backends(device: torch.device) -> list[Backend]:
    """Return `eager`, and `onnxruntime` if it is installed and the device is a CPU."""
    try:
        check_backend(device, "onnxruntime", "fp32")
    except UserError:
        return ["eager"]
    return ["eager", "onnxruntime"]


def open_session(model: Model, images: Tensor, backend: Backend, precision: Precision) -> Session:
    """Prepare a network for timing.

    Args:
        model: the network.
        images: one batch `(N, channels, *spatial)` on the device to time.
        backend: name of the backend.
        precision: name of the precision.

    Raises:
        UserError: when the backend does not support the device or precision, or a package is missing.
    """
    check_backend(images.device, backend, precision)
    if backend in ("onnxruntime", "openvino"):
        return _onnx(model, images, backend, precision)
    return _torch(model, images, backend, precision)


def _torch(model: Model, images: Tensor, backend: Backend, precision: Precision) -> Session:
    if backend == "fast" and isinstance(model, TracedModel):
        raise UserError(f"backend 'fast': network '{model.architecture.name}' has no fast kernels; 'eager' is the same")
    network = copy.deepcopy(model).to(images.device).eval()
    network.kernels = "fast" if backend == "fast" else "plain"
    if backend == "compile":
        network.compile()
    half = HALF.get(precision)

    def call() -> object:
        with torch.inference_mode(), torch.autocast(images.device.type, half, enabled=half is not None):
            return network(images)

    return Session(call, "channels-last" if backend == "fast" else "channels-first")


def _onnx(model: Model, images: Tensor, backend: Backend, precision: Precision) -> Session:
    pixels, threads = images.numpy(), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(exported_program(model, images.shape[1]), path)
        if backend == "onnxruntime":
            session = onnx_session(path, threads)
            return Session(lambda: session(pixels), "chosen by ONNX Runtime")
        import openvino

        network = openvino.Core().read_model(path)
        network.reshape({0: list(images.shape)})
        # Without the precision hint, OpenVINO uses bf16 on processors that support it.
        hints = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
        }
        compiled = openvino.compile_model(network, "CPU", hints)
    request = compiled.create_infer_request()
    return Session(lambda: request.infer({0: pixels}), "chosen by OpenVINO")
