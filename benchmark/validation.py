"""Loss and Dice on the validation images, which select."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stampbench.benchmark.data import Images


class Scored(NamedTuple):
    """The loss, averaged over images; per foreground class its Dice, averaged over cases, and whether it vanished.

    A class has vanished when it is in some label and not one voxel of it was found.
    """

    loss: float
    dice: tuple[float, ...]
    vanished: tuple[bool, ...]

    @property
    def mean_dice(self) -> float:
        return sum(self.dice) / len(self.dice)


def validate(
    model: nn.Module, images: Images, classes: int, loss: Callable[[Tensor, Tensor], Tensor], batch_size: int
) -> Scored:
    """Score a network on validation images.

    A case's slices count together. A class that is in neither prediction nor label of a case has Dice 1.
    """
    model.eval()
    device = images.pixels.device
    total = torch.zeros((), device=device)
    overlaps = torch.zeros(3, int(images.cases.max()) + 1, classes, device=device, dtype=torch.float64)
    with torch.inference_mode():
        for batch in images.batches(batch_size):
            logits = model(batch.pixels)
            total += loss(logits, batch.labels) * len(batch.pixels)
            predicted = nn.functional.one_hot(logits.argmax(1), classes).flatten(1, -2)
            labelled = nn.functional.one_hot(batch.labels.long(), classes).flatten(1, -2)
            for part, voxels in enumerate((predicted * labelled, predicted, labelled)):
                overlaps[part].index_add_(0, batch.cases, voxels.sum(1).double())
    both, predicted, labelled = overlaps[:, :, 1:]
    union = predicted + labelled
    dice = torch.where(union > 0, 2 * both / union.clamp(min=1), 1.0).mean(0)
    vanished = (both.sum(0) == 0) & (labelled.sum(0) > 0)
    return Scored(float(total) / len(images.pixels), tuple(dice.tolist()), tuple(vanished.tolist()))
