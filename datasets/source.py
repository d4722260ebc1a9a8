"""Where a dataset's raw cases come from: files in a folder, or the phantom generator."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets import images, phantom
from stampbench.datasets.definition import Definition, Phantom
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.folder import Case, Layout, read_layout


class RawCase(NamedTuple):
    """Image `(channels, *spatial)` and label `(*spatial)` of class indices, in one space; no affine: no spacing."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64] | None


class Source(Protocol):
    """What a dataset asks of the place its cases come from; `classes` and `values` go by class index."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    cases: tuple[Case, ...]
    licence: str
    citation: str

    def read(self, case: Case) -> RawCase: ...
    def shape(self, case: Case) -> tuple[int, ...]: ...
    def checksum(self, case: Case) -> str: ...


class FolderSource:
    """Cases in a Decathlon or nnU-Net v2 folder."""

    def __init__(self, folder: Path, subject_pattern: str | None) -> None:
        layout: Layout = read_layout(folder, subject_pattern)
        self.channels, self.cases = layout.channels, layout.cases
        self.licence, self.citation = layout.licence, layout.citation
        self.classes = tuple(layout.classes.values())
        self.values = tuple(layout.classes)

    def read(self, case: Case) -> RawCase:
        """Read and check a case.

        Raises:
            DatasetError: unreadable files, a wrong number of channels, shapes that differ, undeclared labels.
        """
        pictures = [images.read(path) for path in case.images]
        for path, picture in zip(case.images[1:], pictures[1:], strict=True):
            check_same_space(path, picture, pictures[0])
            if picture.pixels.shape != pictures[0].pixels.shape:
                raise DatasetError(
                    f"{path}: size {_size(picture.pixels)}, but {case.images[0].name} has {_size(pictures[0].pixels)}"
                )
        image = np.concatenate([picture.pixels for picture in pictures]).astype(np.float32)
        if len(image) != len(self.channels):
            raise DatasetError(
                f"{case.images[0]}: {len(image)} channels where dataset.json declares {len(self.channels)} "
                f"({', '.join(self.channels)})"
            )
        label = images.read(case.label)
        if label.pixels.shape != (1, *image.shape[1:]):
            raise DatasetError(f"{case.label}: label of size {_size(label.pixels)} for an image of size {_size(image)}")
        check_same_space(case.label, label, pictures[0])
        if undeclared := [value for value in np.unique(label.pixels) if value not in self.values]:
            raise DatasetError(
                f"{case.label}: label value {undeclared[0]:g} is not in dataset.json, which declares "
                f"{', '.join(map(str, self.values))}"
            )
        indices = np.searchsorted(self.values, label.pixels[0]).astype(np.uint8)
        return RawCase(image, indices, pictures[0].affine)

    def shape(self, case: Case) -> tuple[int, ...]:
        return images.shape(case.images[0])

    def checksum(self, case: Case) -> str:
        digest = hashlib.sha256()
        beside = [path for path in map(images.sidecar, case.images) if path is not None]
        for path in (*case.images, case.label, *beside):
            try:
                digest.update(path.read_bytes())
            except OSError as error:
                raise DatasetError(f"{path}: {error.strerror or error}") from error
        return digest.hexdigest()


class PhantomSource:
    """Generated cases."""

    def __init__(self, definition: Definition, parameters: Phantom) -> None:
        if definition.spatial_dims is None or parameters.size % 16:
            raise DatasetError(f"{definition.name}: size {parameters.size} is not a multiple of 16")
        self._dims, self._size = definition.spatial_dims, parameters.size
        self.channels: tuple[str, ...] = ("intensity",)
        self.classes: tuple[str, ...] = phantom.CLASSES
        self.values = tuple(range(len(phantom.CLASSES)))
        self.licence, self.citation = definition.licence, definition.citation
        ids = [f"{definition.name}_{index:04d}" for index in range(parameters.cases)]
        self.cases = tuple(Case(id, id, (), Path()) for id in ids)

    def read(self, case: Case) -> RawCase:
        affine = np.eye(4) if self._dims == 3 else None
        image, label = phantom.generate(self._dims, self._size, int(case.id.rsplit("_", 1)[1]))
        return RawCase(image[None], label, affine)

    def shape(self, case: Case) -> tuple[int, ...]:
        return (self._size,) * self._dims

    def checksum(self, case: Case) -> str:
        return hashlib.sha256(f"{phantom.VERSION} {self._dims} {self._size} {case.id}".encode()).hexdigest()


def check_same_space(path: Path, picture: images.Picture, image: images.Picture) -> None:
    """Spacing and orientation have to agree, and the first voxels to lie within one voxel of each other."""
    if picture.affine is None or image.affine is None:
        return
    tolerance = 0.01 * np.abs(image.affine[:3, :3]).max()
    offset = np.linalg.solve(image.affine[:3, :3], picture.affine[:3, 3] - image.affine[:3, 3])
    if np.abs(picture.affine[:3, :3] - image.affine[:3, :3]).max() > tolerance or np.abs(offset).max() > 1:
        raise DatasetError(f"{path}: its affine (orientation, spacing or place) is not that of its image")


def _size(pixels: NDArray[np.generic]) -> str:
    return "×".join(map(str, pixels.shape[1:]))
