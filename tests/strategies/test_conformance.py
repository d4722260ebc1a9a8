"""Conformance of all built-in strategies, with the tests that plug-in strategies use too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch.utils.flop_counter import FlopCounterMode

from stampbench.benchmark.config.resolve import resolve_network
from stampbench.benchmark.environment import instructions
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.measure import layer_latency
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import TINY, check_conformance

OWN_TINY: dict[str, dict[str, object]] = {
    "width_at_init": {"f": 16},
    "sauron": {"first_threshold": 0.3},
    "quantised": {"of": "standard"},
}
"""Five candidates at least; a threshold at which filters are removed in the first epoch; a short parent run."""


# Writing ONNX files takes long, and strategies do not see how many dims there are.
BUILT_IN = [(name, dims) for name in STRATEGIES for dims in (2, 3) if (name, dims) != ("quantised", 3)]


@pytest.mark.parametrize(("name", "spatial_dims"), BUILT_IN)
def test_built_in_strategy_conforms(
    name: str, spatial_dims: int, tmp_path: Path, compute: ComputeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = STRATEGIES[name]
    own = TINY | OWN_TINY.get(name, {})
    if name == "quantised":
        for package in ("onnxscript", "onnxruntime", "openvino"):
            pytest.importorskip(package)
        monkeypatch.setattr(instructions, "_instructions", lambda: frozenset({"avx512_vnni"}))
    check_conformance(entry.load()(**entry.preset), spatial_dims, tmp_path, compute, tiny=own)


@pytest.mark.parametrize(
    ("name", "network", "hyperparameters"),
    [
        ("stamp_plus", "dynunet", {"f": 2, "depth": 2, "deep_supervision": 1}),
        ("prune_finetune", "residual_unet", {"f": 2, "depth": 1}),
        ("random_largest", "attention_unet", {"f": 2, "depth": 1}),
        ("standard_plus", "dynunet", {"f": 2, "depth": 2, "residual": True}),
        ("sauron", "half_unet", {"f": 4, "depth": 1}),
        ("width_at_init", "simple_unet", {"f": 16, "depth": 1}),
    ],
)
def test_strategies_conform_on_other_networks(
    name: str, network: str, hyperparameters: dict[str, int], tmp_path: Path, compute: ComputeSettings
) -> None:
    entry = STRATEGIES[name]
    resolved = resolve_network(network, hyperparameters)
    own = TINY | OWN_TINY.get(name, {})
    check_conformance(entry.load()(**entry.preset), 2, tmp_path, compute, resolved, tiny=own)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_swift_conforms_with_all_its_parts(spatial_dims: int, tmp_path: Path, compute: ComputeSettings) -> None:
    settings = {"refine": 2, "weight": 0.5, "average": 0.5, "teacher_f": 2, "teacher_depth": 1, "f": 2}
    check_conformance(STRATEGIES["swift"].load()(**settings), spatial_dims, tmp_path, compute)


def test_pruning_for_time_conforms(tmp_path: Path, compute: ComputeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that counts FLOPs makes runs comparable."""

    def flops(call: Callable[[], object], _: object) -> float:
        with FlopCounterMode(display=False) as counter:
            call()
        return float(counter.get_total_flops())

    monkeypatch.setattr(layer_latency, "_milliseconds", flops)
    settings = {"cost": "latency", "width_multiple": 2, "dropout": "targeted"}
    check_conformance(STRATEGIES["stamp_plus"].load()(**settings), 2, tmp_path, compute)
