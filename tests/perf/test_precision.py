"""Speed of low precisions on a CPU: int8 and bf16 in inference runtimes, bf16 in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stampbench.benchmark.environment.precision import Precision
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.backends import Backend, check_backend, open_session
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build

SIZES = {2: (128, 128), 3: (48, 64, 48)}
"""Images of dsb2018, resized, and of hippocampus."""
PRUNED = {
    2: (3, 4, 3, 8, 8, 7, 12, 8, 12, 13, 7, 9, 9, 5, 7, 5, 4, 4),
    3: (3, 4, 8, 8, 8, 10, 6, 14, 14, 14, 13, 13, 7, 9, 6, 7, 4, 4),
}
"""Filters of networks that stamp_plus selected on these datasets with 25 training images under the protocol `cpu`."""
VARIANTS: tuple[tuple[Backend, Precision], ...] = (
    ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "fp32"), ("onnxruntime", "int8"),
    ("eager", "fp32"), ("eager", "bf16"),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["standard", "pruned"])
@pytest.mark.parametrize("spatial_dims", [3, 2])
def test_inference_of_one_image(spatial_dims: int, kind: str, time_interleaved: Any, report: Any) -> None:
    try:
        for backend, precision in VARIANTS:
            check_backend(torch.device("cpu"), backend, precision)
    except UserError as error:
        pytest.skip(str(error))
    architecture = UNetArchitecture.doubling(spatial_dims, 1, 3)
    if kind == "pruned":
        architecture = architecture.model_copy(update={"convs": PRUNED[spatial_dims]})
    torch.set_num_threads(1)  # on a busy machine, threads that wait for each other make ratios meaningless
    torch.manual_seed(0)
    model, image = build(architecture).eval(), torch.randn(1, 1, *SIZES[spatial_dims])
    sessions = {variant: open_session(model, image, *variant) for variant in VARIANTS}

    def variant(call: Callable[[], object]) -> Callable[[], float]:
        def forward() -> float:
            call()
            started = time.perf_counter()
            for _ in range(5):
                call()
            return time.perf_counter() - started

        return forward

    times = time_interleaved({" ".join(key): variant(each.call) for key, each in sessions.items()}, 11)
    for backend, precision in VARIANTS:
        if precision != "fp32":
            names = f"{backend} fp32", f"{backend} {precision}"
            size, fp32_size = (sessions[backend, each].file_bytes for each in (precision, "fp32"))  # type: ignore[index]
            files = "" if size is None or precision == "bf16" else f"; file of {size:,} instead of {fp32_size:,} bytes"
            report(f"one image in {precision}, {backend}, {spatial_dims}D, {kind}, 1 thread: × time of fp32",
                   times.ratio(*names), detail=times.spread(*names) + files)  # fmt: skip
    names = "onnxruntime fp32", "openvino int8"
    report(f"one image, int8 in openvino, {spatial_dims}D, {kind}, 1 thread: × time of fp32 in onnxruntime",
           times.ratio(*names), detail=times.spread(*names))  # fmt: skip
