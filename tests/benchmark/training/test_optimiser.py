"""Adam, SGD, the plateau schedule and polynomial decay."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.config.resolve import resolve_protocol
from stampbench.benchmark.training.optimiser import decay_learning_rate, new_optimiser


def test_plateaus_halve_the_learning_rate_down_to_the_minimum() -> None:
    protocol = resolve_protocol("pocketnet", {"plateau_patience": "1", "plateau_minimum": "0.0003"})
    optimiser, plateau = new_optimiser(torch.nn.Linear(1, 1), protocol, fused=True)
    assert plateau is not None
    rates = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9):
        plateau.step(loss)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 3e-4, 3e-4, 3e-4])
    assert new_optimiser(torch.nn.Linear(1, 1), resolve_protocol("paper", {}), fused=False)[1] is None


def test_nnunet_trains_with_sgd_and_nesterov_momentum() -> None:
    optimiser, plateau = new_optimiser(torch.nn.Linear(1, 1), resolve_protocol("nnunet", {}), fused=True)
    (group,) = optimiser.param_groups
    assert isinstance(optimiser, torch.optim.SGD)
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.01, 0.99, True, 3e-5)
    assert plateau is None


def test_polynomial_decay_has_nnunets_values() -> None:
    """0.01 · (1 − epoch / 1000)^0.9; epochs after the last one keep its learning rate."""
    protocol = resolve_protocol("nnunet", {})
    optimiser, _ = new_optimiser(torch.nn.Linear(1, 1), protocol, fused=False)
    rates = []
    for epoch in (0, 1, 500, 999, 1000, 5000):
        decay_learning_rate(optimiser, protocol, epoch)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.009991, 0.00535887, 1.99526e-05, 1.99526e-05, 1.99526e-05], rel=1e-5)


def test_other_protocols_keep_their_learning_rate() -> None:
    protocol = resolve_protocol("paper", {})
    optimiser, _ = new_optimiser(torch.nn.Linear(1, 1), protocol, fused=False)
    decay_learning_rate(optimiser, protocol, 900)
    assert optimiser.param_groups[0]["lr"] == protocol.learning_rate
