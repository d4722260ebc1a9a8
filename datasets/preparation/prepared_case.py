"""Prepared cases: memory-mapped NumPy arrays in the cache."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig


@dataclass(frozen=True)
class PreparedCase:
    """A case after preprocessing, together with the label map that predictions are scored against.

    Every access to an array maps its file anew, so that a case occupies memory only while its arrays are in use.

    Attributes:
        id: Case id.
        subject: Subject id.
        preprocessing: How the case was prepared.
        folder: Folder in the cache that holds the arrays.
    """

    id: str
    subject: str
    preprocessing: PreprocessingConfig
    folder: Path

    @property
    def images(self) -> NDArray[np.float32]:
        """Network inputs `(n, channels, *size)`; n is the number of slices of a sliced volume, otherwise 1."""
        return self._map("images")

    @property
    def labels(self) -> NDArray[np.uint8]:
        """Class indices `(n, *size)` of the network inputs."""
        return self._map("labels")

    @property
    def reference(self) -> NDArray[np.uint8]:
        """Label map `(*spatial)` in the case's original grid, oriented to RAS, without padding, cropping or resizing.

        A dataset that cuts a box around the label (`PreprocessingConfig.crop`) has the grid of that box here.
        """
        return self._map("reference")

    @property
    def spacing(self) -> tuple[float, ...]:
        """Voxel size of the reference per axis, in the dataset's unit (mm or pixels)."""
        return tuple(json.loads((self.folder / "spacing.json").read_text()))

    @property
    def digest(self) -> str:
        """Checksum of the image before preprocessing."""
        return str(json.loads((self.folder / "digest.json").read_text()))

    def _map(self, name: str) -> NDArray:  # type: ignore[type-arg]
        path = self.folder / f"{name}.npy"
        try:
            array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[type-arg]
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: is damaged ({error}); delete {self.folder} to prepare it again") from error
        return array
