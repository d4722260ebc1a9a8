"""Ways of running a network whose latency is compared."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from stampbench.benchmark.environment.compute_settings import HALF, Precision, check_precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import exportable, onnx_session, require, write_onnx
from stampbench.models.network import Network

Backend = Literal["eager", "fast", "compile", "onnxruntime", "openvino"]
BACKENDS: dict[Backend, str] = {
    "eager": "PyTorch's modules as everybody stacks them",
    "fast": "the kernels that this package trains and predicts with on a CPU",
    "compile": "torch.compile; needs a C++ compiler, and half a minute per network",
    "onnxruntime": "ONNX Runtime on the CPU",
    "openvino": "OpenVINO on the CPU",
}


class Session(NamedTuple):
    """A network ready to be timed: each call computes one batch; `layout` is that of its tensors in memory."""

    call: Callable[[], object]
    layout: str


def check(device: torch.device, backend: Backend, precision: Precision) -> None:
    """Raises UserError if a backend does not exist for a device or precision, or its package is missing."""
    check_precision(precision, device)
    if backend in ("onnxruntime", "openvino"):
        if device.type != "cpu":
            raise UserError(f"backend '{backend}' is timed on the CPU only, not on '{device.type}'")
        if precision != "fp32" and (backend, precision) != ("openvino", "bf16"):
            raise UserError(f"backend '{backend}' is not timed in {precision}")
        require("onnx", "onnxscript", backend)
    if backend == "fast" and device.type != "cpu":
        raise UserError("backend 'fast' is for the CPU; eager is the same elsewhere")
    if backend == "compile" and device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise UserError("backend 'compile' needs a C++ compiler, and none is installed")


def default_backends(device: torch.device) -> list[Backend]:
    """PyTorch as it is, and on a CPU ONNX Runtime where it is installed."""
    try:
        check(device, "onnxruntime", "fp32")
    except UserError:
        return ["eager"]
    return ["eager", "onnxruntime"]


def open_session(model: Network, images: Tensor, backend: Backend, precision: Precision) -> Session:
    """Make a network ready on the device of `images`, `(N, channels, *spatial)`.

    Raises:
        UserError: the backend does not exist for this device or precision, or its package is missing.
    """
    check(images.device, backend, precision)
    if backend in ("onnxruntime", "openvino"):
        return _onnx(model, images, backend, precision)
    return _torch(model, images, backend, precision)


def _torch(model: Network, images: Tensor, backend: Backend, precision: Precision) -> Session:
    own = copy.deepcopy(model).to(images.device).eval()
    own.kernels = "fast" if backend == "fast" else "plain"
    if backend == "compile":
        own.compile()
    half = HALF.get(precision)

    def call() -> object:
        with torch.inference_mode(), torch.autocast(images.device.type, half, enabled=half is not None):
            return own(images)

    return Session(call, "channels-last" if backend == "fast" else "channels-first")


def _onnx(model: Network, images: Tensor, backend: Backend, precision: Precision) -> Session:
    pixels, threads = images.numpy(), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(exportable(model, images), path)
        if backend == "onnxruntime":
            session = onnx_session(path, threads)
            return Session(lambda: session(pixels), "chosen by ONNX Runtime")
        import openvino

        network = openvino.Core().read_model(path)
        network.reshape({0: list(images.shape)})
        # Without the hint OpenVINO takes bf16 where the processor has it.
        hints = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16",
        }
        compiled = openvino.compile_model(network, "CPU", hints)
    request = compiled.create_infer_request()
    return Session(lambda: request.infer({0: pixels}), "chosen by OpenVINO")
