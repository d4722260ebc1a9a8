"""Trained networks computed in a lower precision than they were trained in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stampbench.benchmark.environment.instructions import check_instructions
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import exported_program, onnx_session, require, write_onnx
from stampbench.benchmark.inference.openvino_session import openvino_session
from stampbench.benchmark.inference.quantise import quantise
from stampbench.datasets.atomic_file import whole_file
from stampbench.models.model import Model

LowPrecision = Literal["int8", "bf16"]


def check_low_precision(precision: str) -> None:
    """Check that this machine computes networks in a low precision.

    Raises:
        UserError: when there is no such precision, or a package or the CPU's instructions are missing.
    """
    if precision not in get_args(LowPrecision):
        raise UserError(f"networks are not computed in {precision!r}; low precisions are int8 and bf16")
    require("onnx", "onnxscript", "onnxruntime", "openvino")
    check_instructions(precision)


def write_int8(model: Model, images: Iterable[NDArray[np.float32]], path: Path) -> None:
    """Write a network as a quantised ONNX file.

    Args:
        model: the network, in evaluation mode.
        images: batches `(N, channels, *spatial)` on which ranges of activations are found.
        path: file to write.
    """
    write_onnx(exported_program(model, model.architecture.in_channels), path)
    quantise(path, images)


class SessionNetwork(nn.Module):
    """A network that an inference runtime computes on the CPU; it is evaluated like the network itself."""

    def __init__(self, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        """`run` returns the logits of images."""
        super().__init__()
        self._run = run

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images `(N, channels, *spatial)`, on their device."""
        return torch.from_numpy(self._run(images.contiguous().cpu().numpy())).to(images.device)


def low_precision_network(model: Model, precision: LowPrecision, images: Iterable[Tensor]) -> SessionNetwork:
    """Return a network as OpenVINO computes it in a low precision.

    ONNX Runtime has no bf16 on a CPU, and its int8 convolutions are slower than fp32.

    Args:
        model: the network, in evaluation mode.
        precision: the precision.
        images: training images `(N, channels, *spatial)` on which ranges of activations are found; bf16 needs none.

    Raises:
        UserError: when a package or the CPU's instructions are missing.
    """
    check_low_precision(precision)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if precision == "int8":
            write_int8(model, (batch.cpu().numpy() for batch in images), path)
        else:
            write_onnx(exported_program(model, model.architecture.in_channels), path)
        return SessionNetwork(openvino_session(path, precision))


def export_int8(model: Model, images: Iterable[Tensor], path: Path) -> SessionNetwork:
    """Write a quantised ONNX file, and return its network as ONNX Runtime computes it.

    Args:
        model: the network, in evaluation mode.
        images: training images `(N, channels, *spatial)` on which ranges of activations are found.
        path: file to write.

    Raises:
        UserError: when a package or the CPU's instructions are missing, or the file cannot be written.
    """
    require("onnx", "onnxscript", "onnxruntime")
    check_instructions("int8")
    try:
        with whole_file(path) as unfinished:
            write_int8(model, (batch.numpy() for batch in images), unfinished)
            return SessionNetwork(onnx_session(unfinished))
    except OSError as reason:
        raise UserError(f"cannot write {path}: {reason.strerror or reason}") from reason
