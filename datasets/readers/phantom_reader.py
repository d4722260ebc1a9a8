"""Reader of synthetic cases, from the phantom generator."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from stampbench.datasets import phantom
from stampbench.datasets.dataset_json import Case
from stampbench.datasets.definition import Definition, Phantom
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.readers.reader import RawCase

_LARGEST = 2**24
"""Most voxels of a synthetic image; generating 256³ takes several GB."""


class PhantomReader:
    """Reader of synthetic cases; see `CaseReader` for its attributes.

    Raises:
        DatasetError: when the definition gives no number of dimensions, a size that is not a multiple of 16, or one of
            more than 2^24 voxels.
    """

    def __init__(self, definition: Definition, parameters: Phantom) -> None:
        if definition.spatial_dims is None or parameters.size % 16:
            raise DatasetError(
                f"dataset '{definition.name}': a phantom needs spatial_dims and a size that is a multiple of 16, "
                f"not spatial_dims {definition.spatial_dims} and size {parameters.size}"
            )
        if parameters.size**definition.spatial_dims > _LARGEST:
            raise DatasetError(
                f"dataset '{definition.name}': size {parameters.size} in {definition.spatial_dims}D is more than "
                f"{_LARGEST:,} voxels"
            )
        self._dims, self._size = definition.spatial_dims, parameters.size
        self.channels: tuple[str, ...] = ("intensity",)
        self.classes: tuple[str, ...] = phantom.CLASSES
        self.values = tuple(range(len(phantom.CLASSES)))
        self.coding = {value: value for value in self.values}
        self.licence, self.citation = definition.licence, definition.citation
        self.recipe: dict[str, Any] = {}
        ids = [f"{definition.name}_{index:04d}" for index in range(parameters.cases)]
        self.cases = tuple(Case(id, id, (), Path()) for id in ids)

    def read(self, case: Case) -> RawCase:
        """Generate the image and the label map of a case."""
        affine = np.eye(4) if self._dims == 3 else None
        image, label = phantom.generate(self._dims, self._size, int(case.id.rsplit("_", 1)[1]))
        return RawCase(image[None], label, affine)

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return the spatial shape, which is the same for all cases."""
        return (self._size,) * self._dims

    def spacing(self, case: Case) -> tuple[float, ...]:
        """Return voxels of 1 mm."""
        return (1.0,) * self._dims

    def voxels(self, case: Case) -> int:
        """Return the number of voxels of an image."""
        return math.prod(self.shape(case))

    def checksum(self, case: Case) -> str:
        """Return a checksum of everything that determines the case, including the version of the generator."""
        return hashlib.sha256(f"{phantom.VERSION} {self._dims} {self._size} {case.id}".encode()).hexdigest()

    def files(self, case: Case) -> tuple[Path, ...]:
        """Return no files."""
        return ()
