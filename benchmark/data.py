"""The images of one fold, resident on the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stampbench.datasets.prepare import PreparedCase
from stampbench.datasets.split import Image, Split


class Images(NamedTuple):
    """Pixels `(N, channels, *size)` float32, labels `(N, *size)` class indices, and each image's case number."""

    pixels: Tensor
    labels: Tensor
    cases: Tensor

    def batches(self, size: int) -> Iterator[Images]:
        """In order, the last one as it comes."""
        for start in range(0, len(self.pixels), size):
            yield Images(*(part[start : start + size] for part in self))


class FoldData(NamedTuple):
    """What a trainer sees of a fold. Test cases are not in it."""

    training: Images
    validation: Images
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, ...]


def load_fold(
    split: Split,
    prepared: Mapping[str, PreparedCase],
    classes: tuple[str, ...],
    device: torch.device,
) -> FoldData:
    """Stack the images of a fold on `device`, or in main memory where they would take half of what is free there."""
    training, validation = _stack(split.training, prepared), _stack(split.validation, prepared)
    if fits(sum(part.nbytes for part in (*training, *validation)), device):
        training, validation = (Images(*(part.to(device) for part in each)) for each in (training, validation))
    return FoldData(training, validation, classes, training.pixels.shape[1], tuple(training.pixels.shape[2:]))


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes leave at least as many free for the network."""
    return device.type != "cuda" or 2 * size <= torch.cuda.mem_get_info(device)[0]


def _stack(images: Sequence[Image], prepared: Mapping[str, PreparedCase]) -> Images:
    numbers = {case: number for number, case in enumerate(dict.fromkeys(image.case for image in images))}
    pixels = np.stack([prepared[image.case].images[image.slice] for image in images])
    labels = np.stack([prepared[image.case].labels[image.slice] for image in images])
    cases = torch.tensor([numbers[image.case] for image in images])
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels), cases)
