"""Variants of training steps that benchmarks time: all train the same network, within rounding."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch

from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.models.architecture import UNetArchitecture

SHARED = {
    "architecture": UNetArchitecture.doubling(3, 1, 3, f=2, depth=2).model_dump_json(),
    "size": (16, 16, 8),
    "batch": 4,
    "batches": 2,
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"kernels": "plain"},
    {"kernels": "plain", "loop": "plain"},
    {"layout": "channels-last"},
    {"kernels": "plain", "layout": "channels-last"},
    {"kernels": "plain", "separate_bias": True},
    {"precision": "bf16"},
    {"fused_adam": False},
    {"save_memory": True},
]
ON_A_GPU: list[dict[str, Any]] = [
    *VARIANTS,
    {"recorded": False},
    {"precision": "tf32"},
    {"precision": "fp16"},
    {"layout": "channels-last", "precision": "bf16"},
    {"separate_bias": True, "precision": "bf16"},
    {"cudnn_benchmark": True},
    {"deterministic": True},
]


def losses(worker: ModuleType, **settings: Any) -> list[float]:
    """Return the losses of two epochs, and of two after a prune."""
    training = worker.Training(worker.Settings(**SHARED, **settings))
    before = sum(each.numel() for each in training.model.parameters())
    found = [training.train(), training.train(), training.prune(), training.train()]
    assert sum(each.numel() for each in training.model.parameters()) < before
    return found


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_variants_on_a_cpu_train_alike(step_worker: ModuleType, variant: dict[str, Any]) -> None:
    expected, found = losses(step_worker, kernels="plain"), losses(step_worker, **variant)
    # The plain loop draws the same images in another order.
    assert found == pytest.approx(expected, abs=0.03 if variant.get("loop") or variant.get("precision") else 2e-3)
    assert found[-1] < found[0]


@pytest.fixture
def restored() -> Iterator[None]:
    """Reset what `configure_process` has set."""
    yield
    configure_process(ComputeSettings(device="cpu", threads=1))


@pytest.mark.gpu
@pytest.mark.parametrize("variant", ON_A_GPU, ids=str)
@pytest.mark.usefixtures("restored")
def test_variants_on_a_gpu_train_like_the_cpu(step_worker: ModuleType, variant: dict[str, Any]) -> None:
    expected = losses(step_worker, kernels="plain")
    configure_process(step_worker.Settings(**SHARED, device="cuda", **variant).compute)
    assert losses(step_worker, device="cuda", **variant) == pytest.approx(expected, abs=0.03)


def test_a_worker_answers_every_line_with_seconds_and_memory(
    step_worker: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["worker", step_worker.Settings(**SHARED, keep_heap=False).model_dump_json()])
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\nprune\n1\n"))
    step_worker.main()
    answers = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [len(each) for each in answers] == [4, 4, 4]
    assert all(float(each[0]) > 0 and int(each[2]) > 0 and each[3] == "0" for each in answers)


def test_configurations_with_unknown_names_are_refused(step_worker: ModuleType) -> None:
    with pytest.raises(ValueError, match="channels_last"):
        step_worker.Settings(**SHARED, channels_last=True)
    assert step_worker.Settings(**SHARED, precision="tf32").compute.tf32
    assert torch.device(step_worker.Settings(**SHARED).device).type == "cpu"
