"""A prepared case on disk: NumPy arrays, memory-mapped when they are accessed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preprocessing_config import PreprocessingConfig


@dataclass(frozen=True)
class PreparedCase:
    """One case as a network sees it, and as it is scored.

    Arrays are mapped anew at every look, so that a case costs memory only while it is in use.
    """

    id: str
    subject: str
    preprocessing: PreprocessingConfig
    folder: Path

    @property
    def images(self) -> NDArray[np.float32]:
        """`(n, channels, *size)`; n is 1, or the number of slices where a volume is cut into slices."""
        return self._map("images")

    @property
    def labels(self) -> NDArray[np.uint8]:
        """`(n, *size)` class indices."""
        return self._map("labels")

    @property
    def reference(self) -> NDArray[np.uint8]:
        """The label map in the case's own grid, oriented to RAS, neither padded nor cropped nor resized."""
        return self._map("reference")

    @property
    def spacing(self) -> tuple[float, ...]:
        """Of the reference, per axis in the dataset's unit."""
        return tuple(json.loads((self.folder / "spacing.json").read_text()))

    def _map(self, name: str) -> NDArray:  # type: ignore[type-arg]
        path = self.folder / f"{name}.npy"
        try:
            array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[type-arg]
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: is damaged ({error}); delete {self.folder} to prepare it anew") from error
        return array
