"""Validation loss and Dice, used for model selection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stampbench.benchmark.inference.label_maps import class_map
from stampbench.benchmark.inference.sliding_window import sliding_window
from stampbench.benchmark.training.fold_data import Images, StoredImages


class ValidationScore(NamedTuple):
    """Scores of a network on the validation images.

    Attributes:
        loss: mean over images.
        dice: per foreground class, the mean over cases.
        vanished: per foreground class, whether labels contain it and no voxel of it was predicted correctly.
    """

    loss: float
    dice: tuple[float, ...]
    vanished: tuple[bool, ...]

    @property
    def mean_dice(self) -> float:
        """Mean Dice over foreground classes."""
        return sum(self.dice) / len(self.dice)


def validate(
    model: nn.Module,
    images: Images | StoredImages,
    classes: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    batch_size: int,
    *,
    patch_size: Sequence[int] | None = None,
) -> ValidationScore:
    """Score a network on validation images.

    The slices of a case are scored together. A class in neither prediction nor label of a case has Dice 1.

    Args:
        model: the network; it is put into evaluation mode.
        images: the images.
        classes: number of classes, background included.
        loss: loss of logits `(N, classes, *spatial)` and labels `(N, *spatial)`.
        batch_size: images of a batch.
        patch_size: patch size in voxels of the training, which is the sliding window; None: whole images.
    """
    model.eval()
    device = next((each.device for each in model.parameters()), images.device)
    total = torch.zeros((), device=device)
    # Voxels by case, labelled class and predicted class.
    cells = (int(images.cases.max()) + 1) * classes * classes
    voxels = torch.zeros(cells, device=device, dtype=torch.int64)
    cell_type = torch.uint8 if cells <= 2**8 else torch.int16 if cells <= 2**15 else torch.int32
    infer = sliding_window(model, patch_size)
    with torch.inference_mode():
        for batch in images.batches(1 if patch_size else batch_size):
            batch = Images(*(part.to(device) for part in batch))
            logits = infer(batch.pixels).contiguous()
            total += loss(logits, batch.labels) * len(batch.pixels)
            pairs = (batch.labels.to(cell_type) * classes).add_(class_map(logits)).flatten(1)
            first = batch.cases.to(cell_type)[:, None] * classes**2
            # On a GPU, counting waits for it: once per batch, not once per case.
            voxels += torch.bincount(pairs.add_(first).flatten(), minlength=cells)
    table = voxels.cpu().view(-1, classes, classes).double()
    both, labelled, predicted = (part[:, 1:] for part in (table.diagonal(dim1=1, dim2=2), table.sum(2), table.sum(1)))
    union = predicted + labelled
    dice = torch.where(union > 0, 2 * both / union.clamp(min=1), 1.0).mean(0)
    vanished = (both.sum(0) == 0) & (labelled.sum(0) > 0)
    return ValidationScore(float(total) / images.number, tuple(dice.tolist()), tuple(vanished.tolist()))
