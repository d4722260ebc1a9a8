"""Tests of the table of layer latency and of what filters save; a timer that counts FLOPs makes both exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stampbench.benchmark.measure import layer_latency
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.layer_latency import LayerLatency, convolutions
from stampbench.benchmark.measure.savings import FilterSavings
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import Architecture, parameter_count
from stampbench.models.registry import NETWORKS
from stampbench.models.tracing.traced_architecture import TracedArchitecture

CPU = torch.device("cpu")


def flops(call: Callable[[], object], _: torch.device) -> float:
    """Return the FLOPs of a call, in place of its milliseconds: they are bilinear in a layer's channels."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def network(name: str, spatial_dims: int, **hyperparameters: int) -> Architecture:
    return TracedArchitecture.unpruned(name, NETWORKS[name].load()(**hyperparameters), spatial_dims, 1, 2)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        (UNetArchitecture.doubling(2, 1, 2, f=4, depth=3), (24, 32)),
        (UNetArchitecture.doubling(3, 2, 3, f=3, depth=2, prune_upconvs=True), (8, 12, 8)),
        (network("tiny_unet", 2, f=16, depth=1), (16, 16)),  # depthwise convolutions
    ],
    ids=["2d", "3d-upconvs", "depthwise"],
)
def test_with_flops_for_milliseconds_the_table_predicts_the_flops_of_any_pruned_network(
    architecture: Architecture, size: tuple[int, ...]
) -> None:
    table = LayerLatency.measured(architecture, size, CPU, flops)
    rng, pruned = np.random.default_rng(0), architecture
    for _ in range(3):
        assert table.milliseconds(pruned, size) == pytest.approx(count_complexity(pruned, size).flops)
        savings = FilterSavings(size, CPU, table.saved())
        assert savings.of(pruned, "latency") == pytest.approx(savings.of(pruned, "flops"))
        wide = [layer for layer, width in pruned.layers.items() if width > 2]
        for layer in rng.choice(wide, len(wide) // 2, replace=False):
            pruned = pruned.without([Filter(str(layer), index) for index in range(rng.integers(1, 3))])


def test_what_a_filter_saves_is_counted_with_the_layers_that_read_it() -> None:
    """Depth 1, f = 2, one channel in, two out: convs 1→2→2→4→4, up 4→2, convs 4→2→2."""
    architecture = UNetArchitecture.doubling(2, 1, 2, f=2, depth=1)
    savings = FilterSavings((16, 16), CPU).of(architecture, "parameters")
    own = {"conv1": 1, "conv2": 2, "conv3": 2, "conv4": 4, "conv5": 4}  # inputs; a bias and batch norm's two follow
    readers = {"conv1": 9 * 2, "conv2": 9 * 4 + 9 * 2, "conv3": 9 * 4, "conv4": 4 * 2, "conv5": 9 * 2}
    assert savings == {layer: 9 * own[layer] + 3 + readers[layer] for layer in own}
    smaller = architecture.without([Filter("conv2", 1)])
    assert parameter_count(architecture) - parameter_count(smaller) == savings["conv2"]
    assert "conv2" not in FilterSavings((16, 16), CPU).of(smaller, "parameters")


def test_a_noisy_clock_never_makes_wider_layers_faster() -> None:
    architecture, rng = UNetArchitecture.doubling(2, 1, 2, f=4, depth=2), np.random.default_rng(1)
    table = LayerLatency.measured(architecture, (16, 16), CPU, lambda *_: float(rng.uniform(0.1, 1)))
    assert min(FilterSavings((16, 16), CPU, table.saved()).of(architecture, "latency").values()) >= 0
    for _, _, cells in table.times.values():
        assert (np.diff(cells, axis=0) >= 0).all()
        assert (np.diff(cells, axis=1) >= 0).all()


def test_measuring_takes_time_but_no_random_numbers() -> None:
    architecture, state = UNetArchitecture.doubling(2, 1, 2, f=2, depth=1), torch.get_rng_state()
    table = LayerLatency.measured(architecture, (16, 16), CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert table.milliseconds(architecture, (16, 16)) > 0


def test_a_saved_table_is_the_same_table() -> None:
    architecture = UNetArchitecture.doubling(3, 1, 2, f=2, depth=1)
    table = LayerLatency.measured(architecture, (8, 8, 8), CPU, flops)
    assert LayerLatency.restored(table.saved()).times == table.times


def test_layers_of_one_kind_are_measured_once() -> None:
    architecture = UNetArchitecture.doubling(2, 1, 2, f=2, depth=1)
    kinds = {each.kind for each in convolutions(architecture, (16, 16))}
    assert len(convolutions(architecture, (16, 16))) == 8
    assert len(kinds) == 4  # two levels, the transposed convolution, and the head
    assert set(LayerLatency.measured(architecture, (16, 16), CPU, flops).times) == kinds


def test_a_strategy_that_goes_on_with_another_network_gets_a_new_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_latency, "_milliseconds", flops)
    savings = FilterSavings((16, 16), CPU)
    for depth in (1, 2, 1):
        architecture = UNetArchitecture.doubling(2, 1, 2, f=2, depth=depth)
        assert savings.of(architecture, "latency") == pytest.approx(savings.of(architecture, "flops"))
    with pytest.raises(ValueError, match="unknown cost 'macs'; known: parameters, flops, latency"):
        savings.of(architecture, "macs")
