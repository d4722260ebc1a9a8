"""Loss and Dice on the validation images, which select."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stampbench.benchmark.inference.sliding_window import sliding_window
from stampbench.benchmark.training.fold_data import Images, StoredImages


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
    model: nn.Module,
    images: Images | StoredImages,
    classes: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    batch_size: int,
    *,
    window: Sequence[int] | None = None,
) -> Scored:
    """Score a network on validation images; where it was trained on patches, by windows of their size.

    A case's slices count together. A class that is in neither prediction nor label of a case has Dice 1.
    """
    model.eval()
    device = next((each.device for each in model.parameters()), images.device)
    total = torch.zeros((), device=device)
    # Voxels by case, labelled class and predicted class.
    voxels = torch.zeros(int(images.cases.max()) + 1, classes * classes, device=device, dtype=torch.int64)
    pair_type = torch.uint8 if classes * classes <= 256 else torch.int32
    infer = sliding_window(model, window)
    with torch.inference_mode():
        for batch in images.batches(1 if window else batch_size):
            batch = Images(*(part.to(device) for part in batch))
            logits = infer(batch.pixels).contiguous()
            total += loss(logits, batch.labels) * len(batch.pixels)
            pairs = (batch.labels.to(pair_type) * classes).add_(class_map(logits))
            for case, each in zip(batch.cases, pairs.flatten(1), strict=True):
                voxels[case] += torch.bincount(each, minlength=classes * classes)
    table = voxels.cpu().view(-1, classes, classes).double()
    both, labelled, predicted = (part[:, 1:] for part in (table.diagonal(dim1=1, dim2=2), table.sum(2), table.sum(1)))
    union = predicted + labelled
    dice = torch.where(union > 0, 2 * both / union.clamp(min=1), 1.0).mean(0)
    vanished = (both.sum(0) == 0) & (labelled.sum(0) > 0)
    return Scored(float(total) / images.number, tuple(dice.tolist()), tuple(vanished.tolist()))


def class_map(logits: Tensor) -> Tensor:
    """The class of the largest logit, `(N, classes, *spatial)` to `(N, *spatial)` uint8; the first of equals.

    PyTorch's argmax over a second axis is up to a hundred times slower on a CPU.
    """
    largest = logits[:, 0].clone()
    chosen = torch.zeros_like(largest, dtype=torch.uint8)
    for number in range(1, logits.shape[1]):
        # Later classes have larger numbers, so the maximum replaces what was chosen before.
        torch.maximum(chosen, (logits[:, number] > largest).to(torch.uint8) * number, out=chosen)
        torch.maximum(largest, logits[:, number], out=largest)
    return chosen
