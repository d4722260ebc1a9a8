"""Training images on which int8 finds the ranges of activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from stampbench.datasets.dataset import Dataset
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.split import Image

MOST_IMAGES = 64
"""Images, or patches, on which ranges are found."""
_Item = TypeVar("_Item")


class CalibrationImages:
    """Some training images of a fold, or patches of them, spread over all of its subjects; read when iterated."""

    def __init__(
        self, training: Sequence[Image], dataset: Dataset, prepare: Callable[[set[str]], Mapping[str, PreparedCase]]
    ) -> None:
        """Choose the images.

        Args:
            training: training images of the fold.
            dataset: their dataset.
            prepare: returns prepared cases by id.
        """
        self._chosen, self._patch, self._prepare = chosen(training, dataset.tiles), dataset.patch, prepare

    def __iter__(self) -> Iterator[Tensor]:
        """Yield images or patches `(1, channels, *size)`."""
        prepared = self._prepare({image.case for image, _ in self._chosen})
        for image, tile in self._chosen:
            pixels = torch.from_numpy(np.array(prepared[image.case].images[image.slice]))[None]
            if self._patch is not None:
                from monai.data.utils import dense_patch_slices  # it takes a second

                pixels = pixels[(..., *dense_patch_slices(pixels.shape[2:], self._patch, self._patch)[tile])]
            yield pixels


def chosen(training: Sequence[Image], tiles: int = 1, most: int = MOST_IMAGES) -> list[tuple[Image, int]]:
    """Return some images, each with the number of one of the patches that tile it, in the order of the images.

    Every subject gives as many as the others, as far as it has them, and its own are evenly spaced over its slices and
    patches. If there are more subjects than images to choose, the subjects are evenly spaced, too.

    Args:
        training: training images of a fold.
        tiles: patches that tile an image.
        most: most images, or patches, to choose.
    """
    own: dict[str, list[int]] = {}
    for number in sorted(range(len(training)), key=lambda number: training[number][::2]):
        own.setdefault(training[number].subject, []).append(number)
    subjects = _spaced([own[subject] for subject in dict.fromkeys(image.subject for image in training)], most)
    items = [[(number, tile) for number in numbers for tile in range(tiles)] for numbers in subjects]
    found: list[tuple[int, int]] = []
    # Those with few images come first, so that the others share what is left.
    for done, each in enumerate(sorted(items, key=len)):
        found += _spaced(each, (most - len(found)) // (len(items) - done))
    return [(training[number], tile) for number, tile in sorted(found)]


def _spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return evenly spaced items: the middle of each of so many equal parts."""
    number = min(most, len(items))
    return [items[(2 * part + 1) * len(items) // (2 * number)] for part in range(number)]
