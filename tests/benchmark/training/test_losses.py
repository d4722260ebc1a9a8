"""Losses, compared with formulas that are written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stampbench.benchmark.training import losses
from stampbench.benchmark.training.losses import (
    deep_supervision_loss,
    deterministic_cross_entropy,
    l2_dice_loss,
    make_loss,
)

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


@pytest.mark.parametrize("size", [(5, 6), (5, 6, 3)])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_deterministic_cross_entropy_and_its_gradient_equal_pytorchs(size: tuple[int, ...], scale: float) -> None:
    """With large logits, probabilities of other classes are 0 in single precision."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (3, *size), generator=generator)
    logits = (scale * torch.randn(3, 4, *size, generator=generator)).requires_grad_()
    expected, found = torch.nn.functional.cross_entropy(logits, labels), deterministic_cross_entropy(logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(each, logits)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["dice_ce", "dice_ce_foreground"])
def test_losses_use_it_where_pytorch_would_refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    used = []

    def counted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        used.append(name)
        return deterministic_cross_entropy(logits, labels)

    expected = float(make_loss(name)(LOGITS, LABELS[:, None]))
    assert used == []
    monkeypatch.setattr(losses, "needs_deterministic_form", lambda logits: True)
    monkeypatch.setattr(losses, "deterministic_cross_entropy", counted)
    assert float(make_loss(name)(LOGITS, LABELS[:, None])) == pytest.approx(expected, rel=1e-6)
    assert used == [name]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dice", "dice_ce", "dice_ce_foreground", "dice_l2"])
def test_losses_have_deterministic_gradients_on_a_gpu(name: str) -> None:
    gradients = []
    try:
        torch.use_deterministic_algorithms(True)
        for device in ("cpu", "cuda", "cuda"):
            logits = LOGITS.to(device, copy=True).requires_grad_()
            make_loss(name)(logits, LABELS[:, None].to(device)).backward()
            assert logits.grad is not None
            gradients.append(logits.grad.cpu())
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)
    assert torch.equal(gradients[1], gradients[2])


def test_l2_dice_loss_equals_the_formula_of_pocketnet() -> None:
    """mean_c Σ(y − p)² / (Σy² + Σp² + 1e-7), per image over space."""
    p = LOGITS.double().softmax(1)
    ratios = [
        float(((y := (LABELS[n] == c).double()) - p[n, c]).square().sum() / (y.sum() + p[n, c].square().sum() + 1e-7))
        for n in range(3)
        for c in range(4)
    ]
    assert float(l2_dice_loss(LOGITS, LABELS[:, None])) == pytest.approx(float(np.mean(ratios)), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_dice_of_the_foreground_sums_over_the_batch_in_2d_only(dims: int) -> None:
    """nnU-Net's loss: 1 − mean_c (2Σpt + 1e-5) / (Σp + Σt + 1e-5) without the background, plus cross-entropy."""
    logits, labels = (LOGITS, LABELS) if dims == 2 else (LOGITS[..., None], LABELS[..., None])
    p = logits.double().softmax(1)
    ratios = []
    for c in range(1, 4):
        t = (labels == c).double()
        for images in [slice(None)] if dims == 2 else [slice(n, n + 1) for n in range(3)]:
            overlap, both = (p[images, c] * t[images]).sum(), p[images, c].sum() + t[images].sum()
            ratios.append(float((2 * overlap + 1e-5) / (both + 1e-5)))
    entropy = float(-p.gather(1, labels[:, None]).log().mean())
    found = float(make_loss("dice_ce_foreground")(logits, labels[:, None]))
    assert found == pytest.approx(1 - float(np.mean(ratios)) + entropy, rel=1e-5)


def test_deep_supervision_weighs_levels_by_their_resolution_against_smaller_labels() -> None:
    """Weights 4/7, 2/7, 1/7; labels of 8 × 4 voxels become 4 × 4 and 2 × 2."""
    labels = torch.arange(32).reshape(1, 8, 4)
    heads = [torch.full((1, 1, *size), value) for size, value in (((8, 4), 1.0), ((4, 4), 10.0), ((2, 2), 100.0))]
    seen = []

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(target)
        return logits.mean()

    total = deep_supervision_loss(loss, heads, labels)
    assert float(total) == pytest.approx((4 * 1 + 2 * 10 + 1 * 100) / 7)
    assert torch.equal(seen[0], labels)
    assert seen[1].tolist() == [[[4, 5, 6, 7], [12, 13, 14, 15], [20, 21, 22, 23], [28, 29, 30, 31]]]
    assert seen[2].tolist() == [[[9, 11], [25, 27]]]
