"""Losses, compared with formulas that are written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stampbench.benchmark.training.losses import l2_dice_loss, make_loss

LOGITS = torch.randn(3, 4, 5, 6, generator=torch.manual_seed(0))
LABELS = torch.randint(0, 3, (3, 5, 6))


def test_dice_loss_equals_the_formula_of_stamps_code() -> None:
    """1 − mean_c 2Σxt / (Σx + Σt + 1e-7): sums over batch and space, background included; class 3 never occurs."""
    x = torch.sigmoid(LOGITS.double())
    expected = 0.0
    for c in range(4):
        t = (c == LABELS).double()
        expected += float(1 - 2 * (x[:, c] * t).sum() / (x[:, c].sum() + t.sum() + 1e-7))
    assert float(make_loss("dice")(LOGITS, LABELS[:, None])) == pytest.approx(expected / 4, rel=1e-5)


def test_dice_ce_adds_the_cross_entropy() -> None:
    x = LOGITS.double().softmax(1)
    dice = sum(
        float(1 - 2 * (x[:, c] * (t := (c == LABELS).double())).sum() / (x[:, c].sum() + t.sum() + 1e-7))
        for c in range(4)
    )
    entropy = float(-x.gather(1, LABELS[:, None]).log().mean())
    assert float(make_loss("dice_ce")(LOGITS, LABELS[:, None])) == pytest.approx(dice / 4 + entropy, rel=1e-5)


def test_l2_dice_loss_equals_the_formula_of_pocketnet() -> None:
    """mean_c Σ(y − p)² / (Σy² + Σp² + 1e-7), per image over space."""
    p = LOGITS.double().softmax(1)
    ratios = [
        float(((y := (LABELS[n] == c).double()) - p[n, c]).square().sum() / (y.sum() + p[n, c].square().sum() + 1e-7))
        for n in range(3)
        for c in range(4)
    ]
    assert float(l2_dice_loss(LOGITS, LABELS[:, None])) == pytest.approx(float(np.mean(ratios)), rel=1e-5)
