"""Where a dataset's raw cases come from: files in a folder, or the phantom generator."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stampbench.datasets import image_io, phantom
from stampbench.datasets.dataset_json import Case, read_dataset_json
from stampbench.datasets.definition import Definition, Phantom
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.path_pattern import find_cases


class RawCase(NamedTuple):
    """Image `(channels, *spatial)` and label `(*spatial)` of class indices, in one space; no affine: no spacing."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64] | None


class CaseReader(Protocol):
    """What a dataset asks of the place its cases come from.

    `classes` and `values`, the label value that stands for each, go by class index; `coding` tells the class index of
    every label value, several of which may be one class.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    coding: dict[int, int]
    cases: tuple[Case, ...]
    licence: str
    citation: str

    def read(self, case: Case) -> RawCase: ...
    def shape(self, case: Case) -> tuple[int, ...]: ...
    def voxels(self, case: Case) -> int: ...
    def checksum(self, case: Case) -> str: ...
    def files(self, case: Case) -> tuple[Path, ...]: ...


class FolderReader:
    """Cases in a folder with a `dataset.json`, or found by the pattern of their paths."""

    def __init__(self, folder: Path, definition: Definition) -> None:
        self.licence, self.citation = definition.licence, definition.citation
        self._crop = definition.crop
        if definition.files is not None:
            self.channels = definition.files.channels
            self.cases = find_cases(folder, definition.files, definition.subject_pattern)
            named = definition.classes or {}
        else:
            layout = read_dataset_json(folder, definition.subject_pattern)
            self.channels, self.cases = layout.channels, layout.cases
            if layout.licence is not None:
                self.licence = layout.licence
            self.citation = self.citation or layout.citation
            named = definition.classes or {name: (value,) for value, name in layout.classes.items() if value}
        background = "background" if definition.files or definition.classes else layout.classes[0]
        self.classes = (background, *named)
        self.values = (0, *(values[0] for values in named.values()))
        self.coding = dict.fromkeys((0, *definition.background), 0) | {
            value: index for index, values in enumerate(named.values(), start=1) for value in values
        }

    def read(self, case: Case) -> RawCase:
        """Read and check a case.

        Raises:
            DatasetError: unreadable files, a wrong number of channels, shapes that differ, undeclared labels.
        """
        pictures = [image_io.read(path) for path in case.images]
        for path, picture in zip(case.images[1:], pictures[1:], strict=True):
            check_same_space(path, picture, pictures[0])
            if picture.pixels.shape != pictures[0].pixels.shape:
                raise DatasetError(
                    f"{path}: size {_size(picture.pixels)}, but {case.images[0].name} has {_size(pictures[0].pixels)}"
                )
        image = np.concatenate([picture.pixels for picture in pictures]).astype(np.float32)
        if len(image) != len(self.channels):
            raise DatasetError(
                f"{case.images[0]}: {len(image)} channels where {len(self.channels)} are declared "
                f"({', '.join(self.channels)})"
            )
        label = image_io.read(case.label)
        if label.pixels.shape != (1, *image.shape[1:]):
            raise DatasetError(f"{case.label}: label of size {_size(label.pixels)} for an image of size {_size(image)}")
        check_same_space(case.label, label, pictures[0])
        found = np.unique(label.pixels)
        if undeclared := [value for value in found if value not in self.coding]:
            raise DatasetError(
                f"{case.label}: label value {undeclared[0]:g} is not declared; declared are "
                f"{', '.join(map(str, sorted(self.coding)))}"
            )
        indices = np.zeros(label.pixels.shape[1:], np.uint8)
        for value in found:
            indices[label.pixels[0] == value] = self.coding[value]
        raw = RawCase(image, indices, pictures[0].affine)
        return raw if self._crop is None else _cropped(raw, self._crop, case.label)

    def shape(self, case: Case) -> tuple[int, ...]:
        """Spatial shape in RAS."""
        shape = image_io.shape(case.images[0])
        return shape if self._crop is None else tuple(map(min, shape, self._crop))

    def voxels(self, case: Case) -> int:
        """Of the files, which are read whole."""
        return math.prod(image_io.shape(case.images[0]))

    def checksum(self, case: Case) -> str:
        """SHA-256 of the case's files."""
        digest = hashlib.sha256()
        for path in self.files(case):
            try:
                with path.open("rb") as file:
                    while chunk := file.read(2**20):
                        digest.update(chunk)
            except OSError as error:
                raise DatasetError(f"{path}: {error.strerror or error}") from error
        return digest.hexdigest()

    def files(self, case: Case) -> tuple[Path, ...]:
        beside = [path for path in map(image_io.sidecar, case.images) if path is not None]
        return (*case.images, case.label, *beside)


class PhantomReader:
    """Generated cases."""

    def __init__(self, definition: Definition, parameters: Phantom) -> None:
        if definition.spatial_dims is None or parameters.size % 16:
            raise DatasetError(f"{definition.name}: size {parameters.size} is not a multiple of 16")
        self._dims, self._size = definition.spatial_dims, parameters.size
        self.channels: tuple[str, ...] = ("intensity",)
        self.classes: tuple[str, ...] = phantom.CLASSES
        self.values = tuple(range(len(phantom.CLASSES)))
        self.coding = {value: value for value in self.values}
        self.licence, self.citation = definition.licence, definition.citation
        ids = [f"{definition.name}_{index:04d}" for index in range(parameters.cases)]
        self.cases = tuple(Case(id, id, (), Path()) for id in ids)

    def read(self, case: Case) -> RawCase:
        affine = np.eye(4) if self._dims == 3 else None
        image, label = phantom.generate(self._dims, self._size, int(case.id.rsplit("_", 1)[1]))
        return RawCase(image[None], label, affine)

    def shape(self, case: Case) -> tuple[int, ...]:
        return (self._size,) * self._dims

    def voxels(self, case: Case) -> int:
        return math.prod(self.shape(case))

    def checksum(self, case: Case) -> str:
        return hashlib.sha256(f"{phantom.VERSION} {self._dims} {self._size} {case.id}".encode()).hexdigest()

    def files(self, case: Case) -> tuple[Path, ...]:
        return ()


def check_same_space(path: Path, picture: image_io.Picture, image: image_io.Picture) -> None:
    """Spacing and orientation have to agree, and the first voxels to lie within one voxel of each other."""
    if picture.affine is None or image.affine is None:
        return
    tolerance = 0.01 * np.abs(image.affine[:3, :3]).max()
    offset = np.linalg.solve(image.affine[:3, :3], picture.affine[:3, 3] - image.affine[:3, 3])
    if np.abs(picture.affine[:3, :3] - image.affine[:3, :3]).max() > tolerance or np.abs(offset).max() > 1:
        raise DatasetError(f"{path}: its affine (orientation, spacing or place) is not that of its image")


def _cropped(raw: RawCase, edges: tuple[int, ...], path: Path) -> RawCase:
    """A box around the centre of the label, moved to lie inside the image; `edges` go by RAS axis."""
    if raw.affine is None:
        raise DatasetError(f"{path}: has no affine, so there is no box in space around its label")
    if not raw.label.any():
        raise DatasetError(f"{path}: has no foreground to cut a box around")
    box = []
    for axis, (ras_axis, _) in enumerate(nib.io_orientation(raw.affine)):
        whole, edge = raw.label.shape[axis], min(edges[int(ras_axis)], raw.label.shape[axis])
        others = tuple(each for each in range(raw.label.ndim) if each != axis)
        inside = np.flatnonzero(raw.label.any(axis=others))
        start = int(np.clip((inside[0] + inside[-1] + 1) // 2 - edge // 2, 0, whole - edge))
        box.append(slice(start, start + edge))
    affine = raw.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return RawCase(raw.image[(slice(None), *box)], raw.label[tuple(box)], affine)


def _size(pixels: NDArray[np.generic]) -> str:
    return "×".join(map(str, pixels.shape[1:]))
