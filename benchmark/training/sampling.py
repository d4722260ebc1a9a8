"""Sampling of training batches: shuffled images, or patches of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stampbench.benchmark.training.fold_data import FoldData, Pair

_CENTRES = 1024
"""Voxels of each class of an image that patches are centred on."""


class Sampler:
    """Batches of one fold's training images.

    Args:
        data: the fold's images.
        batch_size: images or patches of a batch.
        augment: augments a batch, given a seed.
    """

    def __init__(self, data: FoldData, batch_size: int, augment: Callable[[Pair, int], Pair] | None = None) -> None:
        self._images, self._batch_size, self._augment = data.training, batch_size, augment
        self._patch = data.patch
        self._tiles = [] if data.patch is None else _tiles(data.training.shape, data.patch)
        self._centres: dict[int, list[NDArray[np.int64]]] = {}

    @property
    def full_batch(self) -> int:
        """Images or patches of a full batch: the batch size, or all of an epoch if they are fewer."""
        return min(self._batch_size, self._images.number * max(len(self._tiles), 1))

    def shuffled(self, generator: torch.Generator) -> Iterator[Pair]:
        """Yield the batches of one epoch in an order drawn from `generator`.

        Each image gives as many patches as would cover it. Half of them are centred on a voxel of a foreground class,
        with equal probability for each class of the image; the others are anywhere.
        """
        per_image = max(len(self._tiles), 1)
        order = torch.randperm(self._images.number * per_image, generator=generator)
        order = order.to(self._images.device)
        # Drawn only if it is needed: training without patches and augmentation keeps its random numbers.
        random = self._patch is not None or self._augment is not None
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)) if random else 0)
        for indices in torch.split(order, self._batch_size):
            if self._patch is None:
                pixels, labels, _ = self._images.take(indices)
            else:
                pixels, labels = _stacked([self._cut(index, rng) for index in (indices // per_image).tolist()])
            if self._augment is not None:
                pixels, labels = self._augment((pixels, labels), int(rng.integers(2**31)))
            yield pixels, labels

    def in_order(self) -> Iterator[Pair]:
        """Yield every image once; for training in patches, the patches that tile each image."""
        if self._patch is None:
            yield from ((batch.pixels, batch.labels) for batch in self._images.batches(self._batch_size))
            return
        every = product(range(self._images.number), self._tiles)
        while some := [self._images.part(*each) for each in islice(every, self._batch_size)]:
            yield _stacked(some)

    def _cut(self, index: int, rng: np.random.Generator) -> Pair:
        assert self._patch is not None
        shape = self._images.shape
        room = [edge - part + 1 for edge, part in zip(shape, self._patch, strict=True)]
        centres = self._centres_of(index)
        if centres and rng.random() < 0.5:
            centre = rng.choice(centres[rng.integers(len(centres))])
            start = [int(np.clip(c - p // 2, 0, r - 1)) for c, p, r in zip(centre, self._patch, room, strict=True)]
        else:
            start = [int(rng.integers(each)) for each in room]
        return self._images.part(index, tuple(slice(s, s + p) for s, p in zip(start, self._patch, strict=True)))

    def _centres_of(self, index: int) -> list[NDArray[np.int64]]:
        """Return some voxels `(n, dims)` of each foreground class of an image, the same ones at every call."""
        if index not in self._centres:
            labels = self._images.labels_of(index)
            rng, found = np.random.default_rng(index), []
            for value in np.unique(labels[labels > 0]):
                voxels = np.flatnonzero(labels == value)
                some = rng.choice(voxels, min(len(voxels), _CENTRES), replace=False)
                found.append(np.stack(np.unravel_index(some, labels.shape), axis=1))
            self._centres[index] = found
        return self._centres[index]


def example(data: FoldData) -> Tensor:
    """Return one validation image `(1, channels, *size)`, or its central patch."""
    pixels = data.validation.take(torch.zeros(1, dtype=torch.int64)).pixels
    around = [(edge - part) // 2 for edge, part in zip(pixels.shape[2:], data.size, strict=True)]
    middle = [slice(start, start + part) for start, part in zip(around, data.size, strict=True)]
    return pixels[(slice(None), slice(None), *middle)]


def _tiles(shape: tuple[int, ...], patch: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return patches that cover an image; the last patch of an axis may overlap the one before it."""
    from monai.data.utils import dense_patch_slices  # it takes a second, which training on whole images does not have

    return dense_patch_slices(shape, patch, patch)  # type: ignore[no-any-return]


def _stacked(pairs: Sequence[Pair]) -> Pair:
    pixels, labels = zip(*pairs, strict=True)
    return torch.stack(pixels), torch.stack(labels)
