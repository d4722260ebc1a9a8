"""Latency of one image: pruned networks, widths that suit a backend, swift, and the table of layer latency."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from stampbench.benchmark.measure.backends import Backend
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.latency import Cell, time_networks
from stampbench.benchmark.measure.layer_latency import LayerLatency
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Model, build
from stampbench.models.networks.swift import SwiftUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture

PICTURE, VOLUME = (256, 256), (48, 64, 48)

PRUNED = {
    "pruned to widths 2, 3, 5, 7, 5": [2, 3, 5, 7, 5],
    "one filter each": [1] * 5,
}


@pytest.mark.parametrize("backend", ["eager", "fast", "onnxruntime"])
def test_latency_of_pruned_networks(backend: Backend, benchmark: Any, report: Any) -> None:
    """The latency of one volume is measured as `stampbench latency` does."""
    networks: dict[str, Model] = {"standard": build(UNetArchitecture.doubling(3, 1, 3))}
    for name, levels in PRUNED.items():
        widths = [width for level in (*range(5), *range(3, -1, -1)) for width in [levels[level]] * 2]
        upconvs = tuple(4 * 2**level for level in range(3, -1, -1))  # transposed convolutions are not pruned
        networks[name] = build(
            UNetArchitecture(
                spatial_dims=3, in_channels=1, out_channels=3, depth=4, convs=tuple(widths), upconvs=upconvs
            )
        )
    rows = benchmark.pedantic(
        lambda: time_networks(networks, torch.randn(1, 1, *VOLUME), Cell(backend), seconds=10).rows, rounds=1
    )
    for row in rows[1:]:
        report(f"latency in {backend}, 3D f=4 {row.network}: × standard", row.ratio,
               detail=f"{row.ratio_low:.2f} to {row.ratio_high:.2f} (95 %)")  # fmt: skip


@pytest.mark.parametrize("backend", ["eager", "onnxruntime", "openvino"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_widths_that_are_multiples_of_eight(spatial_dims: int, backend: Backend, benchmark: Any, report: Any) -> None:
    """What the 16th filter of every layer costs, and the 17th; their FLOPs grow alike."""
    shape = (256, 256) if spatial_dims == 2 else VOLUME
    networks = {str(f): build(UNetArchitecture.flat(spatial_dims, 1, 3, f=f)) for f in (16, 15, 17)}
    flops = {f: count_complexity(each.architecture, shape).flops for f, each in networks.items()}
    rows = benchmark.pedantic(
        lambda: time_networks(networks, torch.randn(1, 1, *shape), Cell(backend), seconds=10).rows, rounds=1
    )
    for row in rows[1:]:
        report(f"latency in {backend}, {spatial_dims}D flat f={row.network}: × f=16", row.ratio,
               detail=f"{row.ratio_low:.2f} to {row.ratio_high:.2f} (95 %); "
               f"FLOPs × {flops[row.network] / flops['16']:.2f}")  # fmt: skip


@pytest.mark.parametrize("backend", ["eager", "fast", "onnxruntime", "openvino"])
@pytest.mark.parametrize(("spatial_dims", "goal"), [(2, 0.4), (3, 0.3)])
def test_latency_of_swift(spatial_dims: int, goal: float, backend: Backend, benchmark: Any, report: Any) -> None:
    shape = PICTURE if spatial_dims == 2 else VOLUME
    swift = TracedArchitecture.unpruned("swift_unet", SwiftUNet(), spatial_dims, 1, 3)
    networks: dict[str, Model] = {
        "standard": build(UNetArchitecture.doubling(spatial_dims, 1, 3)),
        "swift": build(swift),
    }
    rows = benchmark.pedantic(
        lambda: time_networks(networks, torch.randn(1, 1, *shape), Cell(backend), seconds=10).rows, rounds=1
    )
    report(f"latency in {backend}, {spatial_dims}D, swift: × standard", rows[1].ratio, at_most=goal,
           detail=f"{rows[1].ratio_low:.2f} to {rows[1].ratio_high:.2f} (95 %)")  # fmt: skip


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_table_of_layer_latency(spatial_dims: int, time_interleaved: Any, report: Any) -> None:
    """What `cost=latency` measures once per run, before the first prune."""
    shape = PICTURE if spatial_dims == 2 else VOLUME
    architecture, found = UNetArchitecture.doubling(spatial_dims, 1, 3), {}

    def measure() -> float:
        started = time.perf_counter()
        found["table"] = LayerLatency.measured(architecture, shape, torch.device("cpu"))
        return time.perf_counter() - started

    times = time_interleaved({"table": measure}, 1, warm_ups=0)
    cells = sum(len(rows) * len(columns) for rows, columns, _ in found["table"].times.values())
    report(f"table of layer latency for cost=latency, {spatial_dims}D f=4: seconds", times.seconds["table"][0],
           detail=f"{cells} convolutions of {len(found['table'].times)} kinds")  # fmt: skip
