"""Readers of raw cases, and the reader of folders in the Decathlon's and similar layouts."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.dataset_json import Case, read_dataset_json
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.picture import Picture
from stampbench.datasets.readers.path_pattern import find_cases


class RawCase(NamedTuple):
    """A case before preprocessing, in the orientation of its files.

    Attributes:
        image: Image `(channels, *spatial)`.
        label: Class indices `(*spatial)` in the same grid.
        affine: 4×4 matrix from voxel indices to mm; None for 2D images.
        spacing: Pixel size in mm of a 2D image, if it is known.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64] | None
    spacing: tuple[float, ...] | None = None


class CaseReader(Protocol):
    """Access to the raw cases of a dataset.

    Attributes:
        channels: Channel names.
        classes: Class names by class index, the background first.
        values: Label value that represents each class in written label maps, by class index.
        coding: Class index of every label value; several values may belong to one class.
        cases: All labelled cases, sorted by id.
        licence: Licence of the data.
        citation: Publication to cite.
        recipe: How files are read, as far as the other attributes do not say it; part of the data's identity.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    coding: dict[int, int]
    cases: tuple[Case, ...]
    licence: str
    citation: str

    @property
    def recipe(self) -> dict[str, Any]:
        """How files are read."""
        ...

    def read(self, case: Case) -> RawCase:
        """Return the image and the label map of a case."""
        ...

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return the spatial shape of a case after orientation to RAS."""
        ...

    def spacing(self, case: Case) -> tuple[float, ...]:
        """Return the voxel or pixel size in mm along the axes of `shape`; 1 if it is unknown."""
        ...

    def voxels(self, case: Case) -> int:
        """Return the number of voxels per channel that reading the case loads into memory."""
        ...

    def checksum(self, case: Case) -> str:
        """Return the SHA-256 checksum of the content of a case."""
        ...

    def files(self, case: Case) -> tuple[Path, ...]:
        """Return the files of a case; none for a synthetic case."""
        ...


class FolderReader:
    """Reader of a folder with a `dataset.json`, or of one whose file paths match `Definition.files`.

    See `CaseReader` for its attributes.

    Raises:
        DatasetError: when the folder or its cases cannot be found, or `dataset.json` is unusable.
    """

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

    @property
    def recipe(self) -> dict[str, Any]:
        """How files are read: runs that are older than the reading of palettes have other ids than those of today."""
        paletted = any(image_io.palette(path) for case in self.cases for path in case.images)
        return {"palette": "colours"} if paletted else {}

    def read(self, case: Case) -> RawCase:
        """Return the image and the label map of a case, after checking that they belong together.

        Raises:
            DatasetError: when a file cannot be read, the number of channels is wrong, shapes or affines differ, or a
                label value is not declared.
        """
        channels = [image_io.read(path) for path in case.images]
        for path, channel in zip(case.images[1:], channels[1:], strict=True):
            check_same_space(path, channel, channels[0])
            if channel.pixels.shape != channels[0].pixels.shape:
                raise DatasetError(
                    f"{path}: has size {_format_size(channel.pixels)}, but {case.images[0].name} has size "
                    f"{_format_size(channels[0].pixels)}"
                )
        image = np.concatenate([channel.pixels for channel in channels]).astype(np.float32)
        if len(image) != len(self.channels):
            raise DatasetError(
                f"{case.images[0]}: has {len(image)} channels, but {len(self.channels)} are declared "
                f"({', '.join(self.channels)})",
                setting="channels",
            )
        label = image_io.read(case.label, label=True)
        if label.pixels.shape != (1, *image.shape[1:]):
            raise DatasetError(
                f"{case.label}: the label map has size {_format_size(label.pixels)}, but the image has size "
                f"{_format_size(image)}"
            )
        check_same_space(case.label, label, channels[0])
        raw = RawCase(image, self._class_indices(label.pixels[0], case.label), channels[0].affine)
        return raw if self._crop is None else _crop_to_label(raw, self._crop, case.label)

    def _class_indices(self, label: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
        """Return the class index of each voxel of a label map `(*spatial)` of label values."""
        found = np.unique(label)
        if undeclared := [value for value in found if value not in self.coding]:
            raise DatasetError(
                f"{path}: label value {undeclared[0]:g} is not declared; declared are "
                f"{', '.join(map(str, sorted(self.coding)))}"
            )
        indices = np.zeros(label.shape, np.uint8)
        for value in found:
            indices[label == value] = self.coding[value]
        return indices

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return the spatial shape of a case after orientation to RAS and cropping to its box."""
        shape = image_io.shape(case.images[0])
        return shape if self._crop is None else tuple(map(min, shape, self._crop))

    def spacing(self, case: Case) -> tuple[float, ...]:
        """Return the voxel size in mm along the RAS axes; 1 if it is unknown."""
        return image_io.spacing(case.images[0])

    def voxels(self, case: Case) -> int:
        """Return the number of voxels in the file, which is read completely even if it is cropped afterwards."""
        return math.prod(image_io.shape(case.images[0]))

    def checksum(self, case: Case) -> str:
        """Return the SHA-256 checksum of the case's files.

        Raises:
            DatasetError: when a file cannot be read.
        """
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
        """Return the image files, the label file and what belongs to images, such as the spacing of a stack."""
        others = [other for path in case.images for other in image_io.companions(path)]
        return (*case.images, case.label, *others)


def check_same_space(path: Path, picture: Picture, image: Picture) -> None:
    """Check that a channel or label map lies in the same space as an image.

    The 3×3 parts of the affines, which give orientation and spacing, must agree within 1 % of the largest entry, and
    the first voxels must lie within one voxel of each other along each axis. If either affine is unknown, nothing is
    checked.

    Args:
        path: File of the channel or label map, for the error message.
        picture: The channel or label map.
        image: The image to compare it with.

    Raises:
        DatasetError: when they do not agree.
    """
    if picture.affine is None or image.affine is None:
        return
    tolerance = 0.01 * np.abs(image.affine[:3, :3]).max()
    offset = np.linalg.solve(image.affine[:3, :3], picture.affine[:3, 3] - image.affine[:3, 3])
    if np.abs(picture.affine[:3, :3] - image.affine[:3, :3]).max() > tolerance or np.abs(offset).max() > 1:
        raise DatasetError(f"{path}: the affine (orientation, spacing or position) differs from that of its image")


def _crop_to_label(raw: RawCase, edges: tuple[int, ...], path: Path) -> RawCase:
    """Return the box around the centre of the label, shifted where necessary to lie inside the image.

    Args:
        raw: The case.
        edges: Edges of the box in voxels along the RAS axes.
        path: File of the label map, for error messages.
    """
    if raw.affine is None:
        raise DatasetError(f"{path}: has no affine, which is required to cut a box around the label")
    if not raw.label.any():
        raise DatasetError(f"{path}: has no foreground to cut a box around")
    box = []
    for axis, (ras_axis, _) in enumerate(nib.io_orientation(raw.affine)):
        length, edge = raw.label.shape[axis], min(edges[int(ras_axis)], raw.label.shape[axis])
        other_axes = tuple(other for other in range(raw.label.ndim) if other != axis)
        inside = np.flatnonzero(raw.label.any(axis=other_axes))
        start = int(np.clip((inside[0] + inside[-1] + 1) // 2 - edge // 2, 0, length - edge))
        box.append(slice(start, start + edge))
    affine = raw.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return RawCase(raw.image[(slice(None), *box)], raw.label[tuple(box)], affine)


def _format_size(pixels: NDArray[np.generic]) -> str:
    return "×".join(map(str, pixels.shape[1:]))
