"""Backends that run an ONNX file: ONNX Runtime on CPU and GPU, TensorRT through ONNX Runtime, OpenVINO.

TensorRT is reached through ONNX Runtime and not through torch_tensorrt, because the ONNX file, the check of its logits
and the binding of tensors are there already, and a package that is compiled for one version of PyTorch is not needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stampbench.benchmark.environment.precision import Precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import exported_program, onnx_session, require, write_onnx
from stampbench.benchmark.inference.low_precision import write_int8
from stampbench.benchmark.inference.openvino_session import openvino_session
from stampbench.benchmark.measure.session import Session
from stampbench.models.model import Model

PROVIDERS = {"onnxruntime-cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""ONNX Runtime's names of the backends that run on a GPU."""


def check_packages(backend: str, precision: str = "fp32") -> None:
    """Check that what a backend needs for a precision is installed.

    Raises:
        UserError: when it is not; the message names the extra that installs it.
    """
    if backend not in PROVIDERS:
        require("onnx", "onnxscript", backend, *(["onnxruntime"] if precision == "int8" else []))
        return
    require("onnx", "onnxscript", "onnxruntime", extra=backend)
    import onnxruntime

    if PROVIDERS[backend] not in onnxruntime.get_available_providers():
        raise UserError(
            f"backend '{backend}': the installed onnxruntime has no {PROVIDERS[backend]}; run: pip uninstall "
            f"onnxruntime, then pip install 'stampbench[{backend}]'; without it, the nearest backend is 'cudagraph'"
        )


def open_onnx(model: Model, images: Tensor, backend: str, precision: Precision) -> Session:
    """Export a network and prepare it for timing.

    Args:
        model: the network.
        images: one batch `(N, channels, *spatial)` on the device to time.
        backend: name of the backend.
        precision: name of the precision.

    Raises:
        UserError: when ONNX Runtime falls back to the CPU.
    """
    half = precision == "fp16" and backend == "onnxruntime-cuda"  # TensorRT converts the network by itself
    dtype = torch.float16 if half else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if precision == "int8":
            write_int8(model, [images.numpy()], path)
        else:
            write_onnx(exported_program(model, images.shape[1], dtype), path)
        size = path.stat().st_size
        if backend in PROVIDERS:
            providers = gpu_providers(backend, precision, images.device)
            shape = (len(images), model.architecture.out_channels, *images.shape[2:])
            output = torch.empty(shape, dtype=dtype, device=images.device)
            library = "TensorRT" if backend == "tensorrt" else "ONNX Runtime"
            bound = BoundSession(path, images.to(dtype), output, providers)
            return Session(bound, f"chosen by {library}", file_bytes=size)
        pixels, threads = images.numpy(), torch.get_num_threads()
        if backend == "onnxruntime":
            run, library = onnx_session(path, threads), "ONNX Runtime"
        else:
            run, library = openvino_session(path, precision, threads, images.shape), "OpenVINO"
    return Session(lambda: run(pixels), f"chosen by {library}", file_bytes=size)


def gpu_providers(backend: str, precision: Precision, device: torch.device) -> list[tuple[str, dict[str, str]]]:
    """Return ONNX Runtime's providers and their options for a backend on a GPU; TensorRT leaves the rest to CUDA."""
    number = str(device.index or 0)
    cuda = {
        "device_id": number,
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "use_tf32": str(int(torch.backends.cuda.matmul.allow_tf32)),
    }
    providers = [("CUDAExecutionProvider", cuda)]
    if backend == "tensorrt":
        options = {
            "device_id": number,
            "trt_fp16_enable": str(precision == "fp16"),
            "trt_bf16_enable": str(precision == "bf16"),
        }
        providers.insert(0, ("TensorrtExecutionProvider", options))
    return providers


class BoundSession:
    """A call that runs an ONNX file on tensors that stay on their device (IO binding)."""

    def __init__(
        self, path: Path, images: Tensor, output: Tensor, providers: Sequence[tuple[str, dict[str, str]]]
    ) -> None:
        """Load the file.

        Args:
            path: the ONNX file.
            images: its input, contiguous.
            output: tensor that receives the logits.
            providers: ONNX Runtime's providers with their options, the preferred one first.

        Raises:
            UserError: when ONNX Runtime does not use the first provider.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._tensors = images, output  # the binding keeps their addresses only
        self._session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        first = providers[0][0]
        if first not in self._session.get_providers():  # it falls back to the CPU without an error
            raise UserError(f"ONNX Runtime could not start {first}; its libraries are missing or of another version")
        self._binding = self._session.io_binding()
        self._binding.bind_input(**_place(self._session.get_inputs()[0].name, images))
        self._binding.bind_output(**_place(self._session.get_outputs()[0].name, output))

    def __call__(self) -> Tensor:
        """Compute one batch; return the tensor of the logits."""
        self._session.run_with_iobinding(self._binding)
        return self._tensors[1]


def _place(name: str, tensor: Tensor) -> dict[str, Any]:
    """Return where a tensor is, as ONNX Runtime's binding takes it."""
    return {
        "name": name,
        "device_type": tensor.device.type,
        "device_id": tensor.device.index or 0,
        "element_type": np.float16 if tensor.dtype == torch.float16 else np.float32,
        "shape": tuple(tensor.shape),
        "buffer_ptr": tensor.data_ptr(),
    }
