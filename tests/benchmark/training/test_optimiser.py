"""Adam and the plateau schedule."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.config.resolve import resolve_protocol
from stampbench.benchmark.training.optimiser import new_optimiser


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
