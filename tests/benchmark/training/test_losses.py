"""Losses and post-processing against formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stampbench.benchmark.config.resolve import resolve_protocol
from stampbench.benchmark.measure.evaluate import largest_components
from stampbench.benchmark.training.losses import l2_dice_loss, make_loss
from stampbench.benchmark.training.optimiser import new_optimiser

LOGITS, LABELS = torch.randn(3, 4, 5, 6, generator=torch.manual_seed(0)), torch.randint(0, 3, (3, 5, 6))


def test_dice_loss_is_the_formula_of_stamps_code() -> None:
    """1 − mean_c 2Σxt / (Σx + Σt + 1e-7), sums over batch and space, background included; class 3 never occurs."""
    x = torch.sigmoid(LOGITS.double())
    expected = 0.0
    for c in range(4):
        t = (c == LABELS).double()
        expected += float(1 - 2 * (x[:, c] * t).sum() / (x[:, c].sum() + t.sum() + 1e-7))
    assert float(make_loss("dice")(LOGITS, LABELS[:, None])) == pytest.approx(expected / 4, rel=1e-5)


def test_dice_ce_adds_the_cross_entropy_of_softmaxes() -> None:
    x = LOGITS.double().softmax(1)
    dice = sum(
        float(1 - 2 * (x[:, c] * (t := (c == LABELS).double())).sum() / (x[:, c].sum() + t.sum() + 1e-7))
        for c in range(4)
    )
    entropy = float(-x.gather(1, LABELS[:, None]).log().mean())
    assert float(make_loss("dice_ce")(LOGITS, LABELS[:, None])) == pytest.approx(dice / 4 + entropy, rel=1e-5)


def test_pocketnets_loss() -> None:
    """mean_c Σ(y − p)² / (Σy² + Σp² + 1e-7), per image over space."""
    p = LOGITS.double().softmax(1)
    ratios = [
        float(((y := (LABELS[n] == c).double()) - p[n, c]).square().sum() / (y.sum() + p[n, c].square().sum() + 1e-7))
        for n in range(3)
        for c in range(4)
    ]
    assert float(l2_dice_loss(LOGITS, LABELS[:, None])) == pytest.approx(float(np.mean(ratios)), rel=1e-5)


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


def test_largest_component_of_each_class_stays() -> None:
    prediction = np.zeros((6, 8), np.uint8)
    prediction[0:2, 0:2] = 1
    prediction[2, 2] = 1  # touches only by a corner
    prediction[4, 0:3] = 2
    prediction[4, 5] = 2
    expected = prediction.copy()
    expected[2, 2] = expected[4, 5] = 0
    assert np.array_equal(largest_components(prediction), expected)
    assert not largest_components(np.zeros((4, 4, 4), np.uint8)).any()
