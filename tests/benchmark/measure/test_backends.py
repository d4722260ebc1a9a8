"""Inference backends."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.backends import open_session
from stampbench.models.model import Model


@pytest.mark.parametrize("backend", ["fast", "onnxruntime", "openvino"])
def test_backends_give_the_same_logits(network: Model, backend: Any) -> None:
    if backend != "fast":
        pytest.importorskip(backend)
        pytest.importorskip("onnxscript")
    images = torch.randn(2, 1, 16, 24)
    logits = open_session(network, images, backend, "fp32").call()
    logits = next(iter(logits.values())) if backend == "openvino" else logits  # type: ignore[attr-defined]
    torch.testing.assert_close(torch.as_tensor(logits), network(images).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [("eager", "fp16", "needs a GPU"), ("onnxruntime", "bf16", "does not support precision 'bf16'")],
)
def test_unsupported_precisions_are_refused(network: Model, backend: Any, precision: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_session(network, torch.randn(1, 1, 16, 16), backend, precision)
