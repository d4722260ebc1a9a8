"""Training losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stampbench.models.pooling import needs_deterministic_form

if TYPE_CHECKING:  # MONAI takes a second, which prediction does not have
    from monai.losses import DiceCELoss


def make_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss of logits `(N, classes, *spatial)` and labels `(N, 1, *spatial)`; the background is a class.

    `dice`: 1 − mean_c 2Σxt / (Σx + Σt + 1e-7) of sigmoids, with sums over batch and space, as in STAMP's code.
    `dice_ce`: the same of softmaxes, plus the cross-entropy. `dice_ce_foreground`: see `foreground_dice_ce_loss`.
    `dice_l2`: see `l2_dice_loss`.
    """
    if name == "dice_ce_foreground":
        return foreground_dice_ce_loss
    if name == "dice_l2":
        return l2_dice_loss
    from monai.losses import DiceLoss

    settings = {"to_onehot_y": True, "batch": True, "smooth_nr": 0.0, "smooth_dr": 1e-7}
    return DiceLoss(sigmoid=True, **settings) if name == "dice" else _dice_ce(softmax=True, **settings)  # type: ignore[no-any-return]


def foreground_dice_ce_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return nnU-Net's loss: 1 − mean_c (2Σpt + 1e-5) / (Σp + Σt + 1e-5) of softmaxes, plus the cross-entropy.

    The Dice term leaves the background out. Its sums are over space, in 2D over the batch too (`batch_dice`).
    """
    settings = {"softmax": True, "to_onehot_y": True, "include_background": False, "batch": logits.ndim == 4}
    loss: Tensor = _dice_ce(**settings, smooth_nr=1e-5, smooth_dr=1e-5)(logits, labels)
    return loss


class CrossEntropy(nn.Module):
    """Mean cross-entropy of logits `(N, classes, *spatial)` and labels `(N, *spatial)`."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return PyTorch's, or `deterministic_cross_entropy` where PyTorch refuses to compute it."""
        if needs_deterministic_form(logits):
            return deterministic_cross_entropy(logits, labels)
        return nn.functional.cross_entropy(logits, labels)


def deterministic_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy; on a GPU, PyTorch's own for images adds in an order that depends on timing.

    The label's log-probability is chosen by comparison. `gather` would do, but its deterministic gradient on a GPU
    sorts, and cannot be part of a CUDA graph.
    """
    classes = torch.arange(logits.shape[1], device=logits.device).view(-1, *[1] * (labels.ndim - 1))
    return -torch.where(labels.unsqueeze(1) == classes, logits.log_softmax(1), 0).sum(1).mean()


def _dice_ce(**settings: Any) -> DiceCELoss:
    from monai.losses import DiceCELoss

    loss = DiceCELoss(**settings)
    loss.cross_entropy = CrossEntropy()
    return loss


def l2_dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return mean_c Σ(y − p)² / (Σy² + Σp² + 1e-7) of softmaxes, per image over space (Celaya et al. 2022, §2)."""
    p = logits.softmax(1).flatten(2)
    y = nn.functional.one_hot(labels.squeeze(1), logits.shape[1]).movedim(-1, 1).flatten(2).to(p.dtype)
    ratio = (y - p).square().sum(2) / (y.square().sum(2) + p.square().sum(2) + 1e-7)
    return ratio.mean()


def deep_supervision_loss(loss: Callable[[Tensor, Tensor], Tensor], heads: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return the mean loss of logits at several resolutions, with weights 1, 1/2, 1/4, … (Isensee et al. 2021).

    Args:
        loss: loss of logits `(N, classes, *spatial)` and labels `(N, *spatial)`.
        heads: logits, of which the first has the size of the labels; others may be smaller.
        labels: labels `(N, *spatial)`; for smaller logits the nearest label counts.
    """
    weights = [0.5**index for index in range(len(heads))]
    total = torch.zeros((), device=labels.device)
    for weight, logits in zip(weights, heads, strict=True):
        target = labels
        if logits.shape[2:] != labels.shape[1:]:
            resized = nn.functional.interpolate(labels.unsqueeze(1).float(), logits.shape[2:], mode="nearest-exact")
            target = resized.squeeze(1).to(labels.dtype)
        total = total + weight * loss(logits.float(), target)
    return total / sum(weights)


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(teacher ‖ student) of softmaxes at a temperature, averaged over voxels (Hinton et al. 2015, §2).

    The factor T² keeps the magnitude of gradients when the temperature changes.

    Args:
        student: logits `(N, classes, *spatial)`.
        teacher: logits of the same shape.
        temperature: T.
    """
    softened, target = ((logits / temperature).log_softmax(1) for logits in (student, teacher))
    divergence = nn.functional.kl_div(softened, target, log_target=True, reduction="none")
    return temperature**2 * divergence.sum(1).mean()
