"""The images of one fold: on the device where they fit, else read from the cache when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stampbench.datasets.dataset import Dataset
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.split import Image, Split

Pair = tuple[Tensor, Tensor]
"""Pixels `(n, channels, *size)` and labels `(n, *size)`."""

_RESIDENT = 2**30
"""Bytes of images that are kept in main memory; more of them are left to the file cache of the system."""


class Images(NamedTuple):
    """Pixels `(N, channels, *size)` float32, labels `(N, *size)` class indices, and each image's case number."""

    pixels: Tensor
    labels: Tensor
    cases: Tensor

    @property
    def number(self) -> int:
        return len(self.pixels)

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of one."""
        return tuple(self.pixels.shape[2:])

    def part(self, index: int, where: tuple[slice, ...]) -> Pair:
        """A box of one image."""
        return self.pixels[index][(slice(None), *where)], self.labels[index][where]

    def labels_of(self, index: int) -> NDArray[np.uint8]:
        return self.labels[index].cpu().numpy()

    def take(self, indices: Tensor) -> Images:
        """These images, in this order."""
        return Images(*(part[indices] for part in self))

    def batches(self, size: int) -> Iterator[Images]:
        """In order, the last one as it comes."""
        for start in range(0, self.number, size):
            yield Images(*(part[start : start + size] for part in self))


class StoredImages:
    """Images of which only those asked for are in memory; otherwise like `Images`."""

    def __init__(self, images: Sequence[Image], prepared: Mapping[str, PreparedCase]) -> None:
        numbers = {case: number for number, case in enumerate(dict.fromkeys(image.case for image in images))}
        self._images, self._prepared = images, prepared
        self.number, self.device = len(images), torch.device("cpu")
        self.cases = torch.tensor([numbers[image.case] for image in images])

    @property
    def shape(self) -> tuple[int, ...]:
        return self._prepared[self._images[0].case].preprocessing.size

    @property
    def bytes(self) -> int:
        pixels, labels = self._look(0)
        return self.number * (pixels.nbytes + labels.nbytes)

    def take(self, indices: Tensor) -> Images:
        """Read these images."""
        pixels, labels = zip(*map(self._look, indices.tolist()), strict=True)
        return Images(torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels)), self.cases[indices])

    def part(self, index: int, where: tuple[slice, ...]) -> Pair:
        """Read a box of one image."""
        pixels, labels = self._look(index)
        return torch.from_numpy(np.array(pixels[(slice(None), *where)])), torch.from_numpy(np.array(labels[where]))

    def labels_of(self, index: int) -> NDArray[np.uint8]:
        return self._look(index)[1]

    def batches(self, size: int) -> Iterator[Images]:
        """In order, the last one as it comes."""
        for indices in torch.split(torch.arange(self.number), size):
            yield self.take(indices)

    def resident(self, device: torch.device) -> Images:
        """All of them on a device, put there one by one."""
        pixels, labels = self._look(0)
        every = Images(
            torch.empty((self.number, *pixels.shape), device=device),
            torch.empty((self.number, *labels.shape), dtype=torch.uint8, device=device),
            self.cases.to(device),
        )
        for index in range(self.number):
            taken = self.take(torch.tensor([index]))
            every.pixels[index], every.labels[index] = taken.pixels[0], taken.labels[0]
        return every

    def _look(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """One image, mapped and not read."""
        image = self._images[index]
        case = self._prepared[image.case]
        return case.images[image.slice], case.labels[image.slice]


class FoldData(NamedTuple):
    """What a trainer sees of a fold. Test cases are not in it.

    `size` is that of an image as training sees it: a patch where `patch` is given. `mirror` is the axis
    from left to right.
    """

    training: Images | StoredImages
    validation: Images | StoredImages
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, ...]
    patch: tuple[int, ...] | None = None
    mirror: int = 0


def load_fold(
    split: Split, prepared: Mapping[str, PreparedCase], dataset: Dataset, device: torch.device
) -> FoldData:  # fmt: skip
    """The images of a fold: on `device`, where they leave it room to work, else in the cache."""
    training, validation = (StoredImages(each, prepared) for each in (split.training, split.validation))
    fold = FoldData(
        training,
        validation,
        dataset.classes,
        len(dataset.channels),
        dataset.seen,
        dataset.patch,
        # Pictures have rows first; volumes and their slices, oriented to RAS, begin with left to right.
        mirror=1 if dataset.unit == "px" else 0,
    )
    if not fits(training.bytes + validation.bytes, device):
        return fold
    return fold._replace(training=training.resident(device), validation=validation.resident(device))


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes leave at least as many free for the network, on a CPU whether they are few."""
    return size <= (torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _RESIDENT)
