"""Images of one fold: on the device if they fit, else read from the cache on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stampbench.benchmark.inference.calibration import CalibrationImages
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.split import Image, Split

Pair = tuple[Tensor, Tensor]
"""Pixels `(n, channels, *size)` and labels `(n, *size)`."""

_RESIDENT = 2**30
"""Most bytes of images in main memory; larger sets are read through the operating system's file cache."""


class Images(NamedTuple):
    """Pixels `(N, channels, *size)` float32, labels `(N, *size)` class indices, and each image's case number."""

    pixels: Tensor
    labels: Tensor
    cases: Tensor

    @property
    def number(self) -> int:
        """Number of images."""
        return len(self.pixels)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self.pixels.device

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size of an image."""
        return tuple(self.pixels.shape[2:])

    def part(self, index: int, where: tuple[slice, ...]) -> Pair:
        """Return a box of one image."""
        return self.pixels[index][(slice(None), *where)], self.labels[index][where]

    def labels_of(self, index: int) -> NDArray[np.uint8]:
        """Return the labels `(*size)` of one image."""
        return self.labels[index].cpu().numpy()

    def take(self, indices: Tensor) -> Images:
        """Return some images, in this order."""
        return Images(*(part[indices] for part in self))

    def batches(self, size: int) -> Iterator[Images]:
        """Yield batches in order; the last one may be smaller."""
        for start in range(0, self.number, size):
            yield Images(*(part[start : start + size] for part in self))


class StoredImages:
    """Images that are read from the cache on demand; the interface is that of `Images`."""

    def __init__(self, images: Sequence[Image], prepared: Mapping[str, PreparedCase]) -> None:
        numbers = {case: number for number, case in enumerate(dict.fromkeys(image.case for image in images))}
        self._images, self._prepared = images, prepared
        self.number, self.device = len(images), torch.device("cpu")
        self.cases = torch.tensor([numbers[image.case] for image in images])

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial size of an image."""
        return self._prepared[self._images[0].case].preprocessing.size

    @property
    def bytes(self) -> int:
        """Bytes of all images and labels."""
        pixels, labels = self._mapped(0)
        return self.number * (pixels.nbytes + labels.nbytes)

    def take(self, indices: Tensor) -> Images:
        """Read some images, in this order."""
        pixels, labels = zip(*map(self._mapped, indices.tolist()), strict=True)
        return Images(torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(labels)), self.cases[indices])

    def part(self, index: int, where: tuple[slice, ...]) -> Pair:
        """Read a box of one image."""
        pixels, labels = self._mapped(index)
        return torch.from_numpy(np.array(pixels[(slice(None), *where)])), torch.from_numpy(np.array(labels[where]))

    def labels_of(self, index: int) -> NDArray[np.uint8]:
        """Return the labels `(*size)` of one image."""
        return self._mapped(index)[1]

    def batches(self, size: int) -> Iterator[Images]:
        """Yield batches in order; the last one may be smaller."""
        for indices in torch.split(torch.arange(self.number), size):
            yield self.take(indices)

    def resident(self, device: torch.device) -> Images:
        """Copy all images to a device, one by one."""
        pixels, labels = self._mapped(0)
        every = Images(
            torch.empty((self.number, *pixels.shape), device=device),
            torch.empty((self.number, *labels.shape), dtype=torch.uint8, device=device),
            self.cases.to(device),
        )
        for index in range(self.number):
            taken = self.take(torch.tensor([index]))
            every.pixels[index], every.labels[index] = taken.pixels[0], taken.labels[0]
        return every

    def _mapped(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return one image and its labels, memory-mapped."""
        image = self._images[index]
        case = self._prepared[image.case]
        return case.images[image.slice], case.labels[image.slice]


class FoldData(NamedTuple):
    """Training and validation images of a fold; it holds no test cases.

    Attributes:
        training: training images.
        validation: validation images.
        classes: names of the classes, background first.
        channels: number of channels.
        size: spatial size of what a network sees in training: the patch size, else the image size.
        patch: patch size in voxels; None: networks see whole images.
        mirror: the spatial axis from left to right.
        calibration: training images on which a network in int8 finds its ranges.
    """

    training: Images | StoredImages
    validation: Images | StoredImages
    classes: tuple[str, ...]
    channels: int
    size: tuple[int, ...]
    patch: tuple[int, ...] | None = None
    mirror: int = 0
    calibration: Iterable[Tensor] = ()


def load_fold(
    split: Split, prepared: Mapping[str, PreparedCase], dataset: Dataset, device: torch.device
) -> FoldData:  # fmt: skip
    """Load a fold's images to the device if enough memory stays free, else read them from the cache on demand.

    Args:
        split: the fold's training and validation images.
        prepared: prepared cases by id.
        dataset: the dataset.
        device: where to train.
    """
    training, validation = (StoredImages(each, prepared) for each in (split.training, split.validation))
    fold = FoldData(
        training,
        validation,
        dataset.classes,
        len(dataset.channels),
        dataset.seen,
        dataset.patch,
        # Pictures have rows first; the first axis of volumes and slices, oriented to RAS, is left to right.
        mirror=1 if dataset.pictures else 0,
        calibration=CalibrationImages(split.training, dataset, lambda _: prepared),
    )
    if not fits(training.bytes + validation.bytes, device):
        return fold
    return fold._replace(training=training.resident(device), validation=validation.resident(device))


def fits(size: int, device: torch.device) -> bool:
    """Return whether images of this size may stay in memory: in half of a GPU's free memory; a fixed size on a CPU."""
    return size <= (torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _RESIDENT)
