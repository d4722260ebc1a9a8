"""Reader of files in any layout, found by patterns."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.dataset_json import Case, subjects_of
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.picture import Picture
from stampbench.datasets.matching.match import MatchedCase, match_cases
from stampbench.datasets.matching.patterns import Patterns
from stampbench.datasets.readers.reader import RawCase, check_same_space

_ASPECT = 0.01
"""Largest relative difference of the scale of two axes of a label map that is resized."""


class PatternReader:
    """Reader of the files that `Definition.patterns` match; see `CaseReader` for its attributes.

    Raises:
        DatasetError: when the files do not fit the patterns.
    """

    def __init__(self, folder: Path, definition: Definition, patterns: Patterns) -> None:
        self._patterns = patterns
        self._definition = definition
        self.licence, self.citation = definition.licence, definition.citation
        self.channels = patterns.channels
        self._values = definition.classes or {}
        names = [*self._values, *(name for name in patterns.masks if name not in self._values)]
        self.classes = ("background", *names)
        taken = {value for values in self._values.values() for value in values}
        free = (value for value in range(1, 256) if value not in taken)
        # Masks say which class they show by their file, so that any value can represent it in written label maps.
        self.values = (0, *(self._values[name][0] if name in self._values else next(free) for name in names))
        self.coding = dict.fromkeys((0, *definition.background), 0) | {
            value: names.index(name) + 1 for name, values in self._values.items() for value in values
        }
        self._matched = {each.id: each for each in match_cases(folder, patterns)}
        pattern = definition.subject_pattern
        subjects = [each.subject for each in self._matched.values()]
        if pattern is not None:
            subjects = subjects_of(list(self._matched), pattern)
        self.cases = tuple(
            Case(id, subject, each.images, each.labels[0][0])
            for (id, each), subject in zip(self._matched.items(), subjects, strict=True)
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """How files are read."""
        recipe = self._patterns.model_dump(
            mode="json", include={"colour", "priority", "resize_labels", "spacing", "structures"}, exclude_defaults=True
        )
        recipe |= self._definition.model_dump(
            mode="json", include={"test_cases", "test_subjects", "surface_tolerance"}, exclude_defaults=True
        )
        if any(image_io.palette(path) for case in self.cases for path in case.images):
            recipe["palette"] = "colours"
        return recipe

    def read(self, case: Case) -> RawCase:
        """Return the image and the label map of a case, after checking that they belong together.

        Raises:
            DatasetError: when a file cannot be read, channels, sizes or affines differ, a label value is not declared,
                or classes overlap without an order.
        """
        pictures = [self._read_image(path) for path in case.images]
        for path, picture in zip(case.images[1:], pictures[1:], strict=True):
            check_same_space(path, picture, pictures[0])
            if picture.pixels.shape[1:] != pictures[0].pixels.shape[1:]:
                raise DatasetError(f"{path}: has another size than {case.images[0].name}")
        image = np.concatenate([picture.pixels for picture in pictures]).astype(np.float32)
        if len(image) != len(self.channels):
            raise DatasetError(
                f"{case.images[0]}: has {len(image)} channels, but {len(self.channels)} are declared "
                f"({', '.join(self.channels)})",
                setting="channels",
            )
        matched, shape = self._matched[case.id], image.shape[1:]
        labels = [
            (path, name, self._read_label(path, pictures[0], shape, name, case.images[0]))
            for path, name in matched.labels
        ]
        label = self._unite(case, labels)
        affine, spacing = pictures[0].affine, self._patterns.spacing
        if spacing is not None and len(spacing) != len(shape):
            raise DatasetError(f"{case.images[0]}: is {len(shape)}D, but the spacing has {len(spacing)} numbers")
        if spacing is not None and affine is not None:
            affine = np.diag([*spacing, 1.0])
        return RawCase(image, label, affine, spacing if affine is None else None)

    def _read_image(self, path: Path) -> Picture:
        picture = image_io.read(path)
        pixels = picture.pixels
        if pixels.ndim == 3 and len(pixels) in (2, 4) and self._patterns.colour:
            pixels = pixels[:-1]  # transparency
        if self._patterns.colour == "rgb" and len(pixels) == 1:
            pixels = np.repeat(pixels, 3, axis=0)
        if self._patterns.colour == "grey" and len(pixels) == 3:
            if not (pixels == pixels[:1]).all():
                raise DatasetError(f"{path}: its colour channels differ, so it is no grey image", setting="channels")
            pixels = pixels[:1]
        return Picture(pixels, picture.affine)

    def _read_label(
        self, path: Path, image: Picture, shape: tuple[int, ...], name: str | None, image_path: Path
    ) -> NDArray[np.generic]:
        """Return the values `(*shape)` of a label map, or the mask of a class in a file with structures."""
        if name is not None and image_io.structures(path):
            return image_io.mask(path, self._patterns.structures.get(name, (name,)), image_path)
        picture = image_io.read(path, label=True)
        pixels = picture.pixels
        if len(pixels) > 1 and (pixels[:3] == pixels[:1]).all():
            pixels = pixels[:1]
        if len(pixels) > 1:
            raise DatasetError(f"{path}: a label map has one channel, or equal ones; this one has {len(pixels)}")
        if pixels.ndim - 1 != len(shape):
            raise DatasetError(f"{path}: the label map is {pixels.ndim - 1}D, but the image is {len(shape)}D")
        if pixels.shape[1:] == shape:
            check_same_space(path, picture, image)
            label: NDArray[np.generic] = pixels[0]
            return label
        found, wanted = ("×".join(map(str, edges)) for edges in (pixels.shape[1:], shape))
        if not self._patterns.resize_labels:
            raise DatasetError(
                f"{path}: the label map has size {found}, but the image has size {wanted}", setting="resize_labels"
            )
        scales = [edge / other for edge, other in zip(shape, pixels.shape[1:], strict=True)]
        if max(scales) > (1 + _ASPECT) * min(scales):
            raise DatasetError(f"{path}: the label map has size {found}, with another aspect than the image's {wanted}")
        nearest = [((np.arange(edge) + 0.5) / scale).astype(int) for edge, scale in zip(shape, scales, strict=True)]
        resized: NDArray[np.generic] = pixels[0][np.ix_(*nearest)]
        return resized

    def _unite(self, case: Case, labels: Sequence[tuple[Path, str | None, NDArray[np.generic]]]) -> NDArray[np.uint8]:
        """Return the class index of each voxel, from all label maps and masks of a case."""
        matched = self._matched[case.id]
        claims: dict[str, NDArray[np.bool_]] = {}
        for path, mask_of, label in labels:
            for name, claim in self._claims(path, label, mask_of).items():
                claims[name] = claims[name] | claim if name in claims else claim
        result = np.zeros(labels[0][2].shape, np.uint8)
        priority = self._patterns.priority
        if not priority and len(matched.labels) > 1:
            _check_overlaps(matched, claims)
        order = sorted(claims, key=lambda name: priority.index(name) if name in priority else len(priority))
        for name in reversed(order):
            result[claims[name]] = self.classes.index(name)
        return result

    def _claims(
        self, path: Path, label: NDArray[np.generic], mask_of: str | None
    ) -> dict[str, NDArray[np.bool_]]:  # fmt: skip
        """Return where each class is, by name."""
        found = [value for value in np.unique(label) if value]
        if mask_of is not None and mask_of not in self._values:
            if len(found) > 1:
                raise DatasetError(
                    f"{path}: a mask has one value besides 0, but this one has {len(found)} "
                    f"({', '.join(f'{value:g}' for value in found[:5])}, …); name the values of class '{mask_of}'",
                    setting="classes",
                )
            return {mask_of: label != 0}
        known = self.coding if mask_of is None else dict.fromkeys(self._values[mask_of], 1)
        if undeclared := [value for value in found if value not in known]:
            raise DatasetError(
                f"{path}: label value {undeclared[0]:g} is not declared; declared are "
                f"{', '.join(map(str, sorted({0, *known})))}",
                setting="classes",
            )
        names = self._values if mask_of is None else {mask_of: self._values[mask_of]}
        return {name: np.isin(label, values) for name, values in names.items()}

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return the spatial shape of a case after orientation to RAS."""
        return image_io.shape(case.images[0])

    def spacing(self, case: Case) -> tuple[float, ...]:
        """Return the voxel or pixel size in mm along the axes of `shape`."""
        return self._patterns.spacing or image_io.spacing(case.images[0])

    def voxels(self, case: Case) -> int:
        """Return the number of voxels of a channel."""
        return math.prod(image_io.shape(case.images[0]))

    def checksum(self, case: Case) -> str:
        """Return the SHA-256 checksum of the case's files and of the classes of its masks.

        Raises:
            DatasetError: when a file cannot be read.
        """
        digest = hashlib.sha256()
        classes = [None for _ in case.images] + [name for _, name in self._matched[case.id].labels]
        for path, name in zip_longest(self.files(case), classes):
            digest.update(f"{name or ''}\n".encode())
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise DatasetError(f"{path}: {error.strerror or error}") from error
        return digest.hexdigest()

    def files(self, case: Case) -> tuple[Path, ...]:
        """Return the image files, the label files and what belongs to them, such as the spacing of a stack."""
        matched = self._matched[case.id]
        paths = (*case.images, *(path for path, _ in matched.labels))
        others = [other for path in paths for other in image_io.companions(path)]
        return (*paths, *others)


def _check_overlaps(case: MatchedCase, claims: Mapping[str, NDArray[np.bool_]]) -> None:
    names = list(claims)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            if both := np.count_nonzero(claims[name] & claims[other]):
                raise DatasetError(
                    f"{case.labels[0][0]}: {both} voxels belong to both '{name}' and '{other}'; an order of classes "
                    "decides",
                    setting="priority",
                )
