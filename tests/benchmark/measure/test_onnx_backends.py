"""ONNX Runtime with tensors that stay on their device, tried with its CPU provider, and TensorRT's options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import exported_program, write_onnx
from stampbench.benchmark.measure.onnx_backends import BoundSession, check_packages, gpu_providers
from stampbench.models.model import Model

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

CPU = [("CPUExecutionProvider", dict[str, str]())]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 2e-2)])
def test_logits_are_written_into_the_bound_tensor(
    network: Model, tmp_path: Path, dtype: torch.dtype, tolerance: float
) -> None:
    images = torch.randn(2, 1, 16, 24)
    write_onnx(exported_program(network, 1, dtype), tmp_path / "model.onnx")
    output = torch.full((2, 2, 16, 24), torch.nan, dtype=dtype)
    session = BoundSession(tmp_path / "model.onnx", images.to(dtype), output, CPU)
    assert session() is output
    torch.testing.assert_close(output.float(), network(images).detach(), rtol=tolerance, atol=tolerance)


def test_silent_fall_back_to_the_cpu_is_refused(network: Model, tmp_path: Path) -> None:
    write_onnx(exported_program(network, 1), tmp_path / "model.onnx")
    images, providers = torch.zeros(1, 1, 16, 16), gpu_providers("onnxruntime-cuda", "fp32", torch.device("cuda:0"))
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(UserError, match="could not start CUDAExecutionProvider"),
    ):
        BoundSession(tmp_path / "model.onnx", images, torch.zeros(1, 2, 16, 16), [*providers, *CPU])


def test_providers_have_the_options_of_the_precision() -> None:
    cuda = {"device_id": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0"}
    device = torch.device("cuda:1")
    assert gpu_providers("onnxruntime-cuda", "fp16", device) == [("CUDAExecutionProvider", cuda)]
    options = {"device_id": "1", "trt_fp16_enable": "False", "trt_bf16_enable": "True"}
    assert gpu_providers("tensorrt", "bf16", device) == [
        ("TensorrtExecutionProvider", options), ("CUDAExecutionProvider", cuda)
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "tensorrt"])
def test_onnx_runtime_without_the_provider_is_refused_with_the_extra(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match=rf"stampbench\[{backend}\]'; without it, the nearest backend is 'cudagraph'"):
        check_packages(backend)
