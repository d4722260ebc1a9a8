"""Inference of ONNX files with OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stampbench.benchmark.environment.precision import Precision


def openvino_session(
    path: Path, precision: Precision, threads: int | None = None, shape: Sequence[int] | None = None
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from images to logits that runs an ONNX file with OpenVINO.

    Args:
        path: the ONNX file.
        precision: `bf16`, else fp32 for whatever the file does not quantise.
        threads: CPU threads; None: as many as PyTorch uses.
        shape: `(N, channels, *spatial)` of all images; None: shapes differ, which is slower.
    """
    import openvino

    network = openvino.Core().read_model(path)
    if shape is not None:
        network.reshape({0: list(shape)})
    # Without the precision hint, OpenVINO uses bf16 on processors that support it.
    hints = {
        "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    request = openvino.compile_model(network, "CPU", hints).create_infer_request()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return request.infer({0: images})[0]  # type: ignore[no-any-return]

    return run
