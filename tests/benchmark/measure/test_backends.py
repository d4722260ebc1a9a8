"""Inference backends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from stampbench.benchmark.environment import instructions
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure import backends
from stampbench.benchmark.measure.backends import check_backend, default_backends, open_session
from stampbench.models.model import Model, build
from stampbench.models.networks.monai import ResidualUNet
from stampbench.models.networks.swift import SwiftUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture


@pytest.mark.parametrize("backend", ["fast", "onnxruntime", "openvino"])
def test_backends_give_the_same_logits(network: Model, backend: Any) -> None:
    if backend != "fast":
        pytest.importorskip(backend)
        pytest.importorskip("onnxscript")
    images = torch.randn(2, 1, 16, 24)
    logits = open_session(network, images, backend, "fp32").call()
    torch.testing.assert_close(torch.as_tensor(logits), network(images).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("backend", "precision"), [("onnxruntime", "int8"), ("openvino", "bf16")])
def test_low_precisions_give_almost_the_same_logits(
    low_precision: None, network: Model, backend: Any, precision: Any
) -> None:
    images = torch.randn(2, 1, 16, 24)
    session, expected = open_session(network, images, backend, precision), network(images).detach()
    error = torch.as_tensor(session.call()) - expected
    assert error.abs().max() / expected.abs().max() < 0.05
    assert (session.file_bytes or 0) > 10_000


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("eager", "fp16", "needs a GPU"),
        ("onnxruntime", "bf16", "does not support precision 'bf16'; it supports fp32, int8"),
        ("fast", "int8", "does not support precision 'int8'; it supports fp32, bf16, fp16"),
        ("openvino", "int8", "precision 'int8': this CPU has no instructions that make it faster than fp32"),
        ("openvino", "bf16", "precision 'bf16': this CPU has no instructions that make it faster than fp32"),
    ],
)
def test_unsupported_precisions_are_refused(
    network: Model, backend: Any, precision: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "openvino":
        pytest.importorskip(backend)
        pytest.importorskip("onnxscript")
    monkeypatch.setattr(instructions, "_instructions", lambda: frozenset({"avx2"}))
    with pytest.raises(UserError, match=message):
        open_session(network, torch.randn(1, 1, 16, 16), backend, precision)


@pytest.mark.parametrize(
    ("kind", "backend", "precision", "message"),
    [
        ("cpu", "cudagraph", "fp32", "'cudagraph' needs a CUDA device, not 'cpu'; the nearest there is 'eager'"),
        ("cpu", "onnxruntime-cuda", "fp32", "not 'cpu'; the nearest there is 'onnxruntime'"),
        ("cpu", "tensorrt", "bf16", "not 'cpu'; the nearest there is 'openvino'"),
        ("cuda", "openvino", "fp32", "runs on the CPU only, not on 'cuda'; the nearest there is 'tensorrt'"),
        ("cuda", "fast", "fp32", "runs on the CPU only, not on 'cuda'; the nearest there is 'eager'"),
        ("cuda", "onnxruntime-cuda", "bf16", "precision 'bf16'; it supports fp32, fp16"),
    ],
)
def test_backend_of_another_device_is_refused_with_the_nearest(
    kind: str, backend: Any, precision: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_backend(torch.device(kind), backend, precision)


def test_backends_of_a_gpu_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_cuda(backend: str, precision: str) -> None:
        raise UserError("no CUDA provider")

    monkeypatch.setattr(backends, "check_packages", without_cuda)
    assert default_backends(torch.device("cuda")) == ["eager", "cudagraph"]
    assert default_backends(torch.device("cpu")) == ["eager"]
    monkeypatch.setattr(backends, "check_packages", lambda backend, precision: None)
    assert default_backends(torch.device("cuda")) == ["eager", "cudagraph", "onnxruntime-cuda"]


@pytest.mark.parametrize("backend", ["eager", "onnxruntime", "openvino"])
def test_networks_of_the_registry_are_timed_too(backend: Any) -> None:
    if backend != "eager":
        pytest.importorskip(backend)
        pytest.importorskip("onnxscript")
    architecture = TracedArchitecture.unpruned("residual_unet", ResidualUNet(f=2, depth=2), 2, 1, 2)
    model = build(architecture).eval()
    images = torch.randn(2, 1, 16, 24)
    logits = open_session(model, images, backend, "fp32").call()
    torch.testing.assert_close(torch.as_tensor(logits).detach(), model(images).detach(), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match="network 'residual_unet' has no fast kernels; 'eager' is the same"):
        open_session(model, images, "fast", "fp32")


def test_the_u_net_within_a_swift_network_is_timed_with_fast_kernels() -> None:
    swift = TracedArchitecture.unpruned("swift_unet", SwiftUNet(f=2, depth=2), 3, 1, 2)
    model, images = build(swift).eval(), torch.randn(1, 1, 16, 8, 8)
    with profile(activities=[ProfilerActivity.CPU]) as calls:
        logits = open_session(model, images, "fast", "fp32").call()
    torch.testing.assert_close(torch.as_tensor(logits).detach(), model(images).detach(), rtol=1e-3, atol=1e-4)
    assert not [each.key for each in calls.key_averages() if "slow_conv3d" in each.key or "batch_norm" in each.key]
