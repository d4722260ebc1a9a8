"""Open datasets: find their cases, prepare images on demand and split them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from stampbench.datasets.case_names import check_names
from stampbench.datasets.definition import WHOLE, Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.voxel_limit import check_voxels
from stampbench.datasets.preparation.cache import cache_folder, checksums, find_case, prepare_case
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.preparation.threads import in_threads
from stampbench.datasets.readers.pattern_reader import PatternReader
from stampbench.datasets.readers.phantom_reader import PhantomReader
from stampbench.datasets.readers.reader import CaseReader, FolderReader
from stampbench.datasets.split import Image, Split, SplitKind, split

_Number = TypeVar("_Number", int, float)

_PATCH = 128
"""Edge length in voxels of automatically chosen patches."""


class Dataset:
    """A segmentation task whose cases are present on this machine.

    Attributes:
        definition: The dataset's definition.
        reader: Access to the raw cases.
        folder: Folder of the files; None for a synthetic dataset.
        spatial_dims: Number of spatial dimensions of the network inputs: 2 for slices of volumes.
        size: Spatial size of prepared images in voxels; multiples of 16 unless the definition gives a size.
        image_sizes: Smallest and largest edges of the images in voxels, along the RAS axes.
        images: All images that a network can be given, in the order of the cases: whole cases, or all of their slices.
        pictures: Whether the files are 2D images.
        unit: Unit of distances: `mm`; `px` for pictures of unknown spacing; `voxel` if the spacing of volumes was lost.
        largest_case: Upper bound for the size in bytes of a case's image as float32.
        patch: Patch size for training, if smaller than `size`; None: training uses whole images.
        preprocessing: How cases are prepared.

    Raises:
        DatasetError: when there is no foreground class, 2D and 3D images are mixed, or the definition's number of
            dimensions, size or patch size does not fit the images, or prepared images have more voxels than the limit.
    """

    def __init__(self, definition: Definition, reader: CaseReader, folder: Path | None, cache: Path) -> None:
        self.definition, self.reader, self.folder = definition, reader, folder
        self._cache = cache / definition.name
        self._checksums: dict[str, str] | None = None
        self._splits: dict[tuple[int | None, int, int, int, SplitKind], Split] = {}
        if len(reader.classes) < 2:
            raise DatasetError(f"dataset '{definition.name}': has no class besides the background")
        shapes = {case.id: reader.shape(case) for case in reader.cases}
        dims = {len(shape) for shape in shapes.values()}
        if len(dims) > 1:
            raise DatasetError(f"dataset '{definition.name}': mixes 2D and 3D images")
        file_dims = dims.pop()
        self.spatial_dims = definition.spatial_dims or file_dims
        if self.spatial_dims > file_dims:
            raise DatasetError(f"dataset '{definition.name}': has 2D images, which cannot be used as 3D images")
        self.largest_case = 4 * len(reader.channels) * max(map(reader.voxels, reader.cases))
        self.preprocessing = PreprocessingConfig.of(definition, shapes.values())
        self.size = self.preprocessing.size
        self.image_sizes = _range(shapes.values())
        if len(self.size) != self.spatial_dims:
            raise DatasetError(
                f"dataset '{definition.name}': size {_format_size(self.size)} does not fit {self.spatial_dims}D images"
            )
        check_voxels(f"dataset '{definition.name}': a prepared image", (len(reader.channels), *self.size))
        self.patch = self._choose_patch()
        lost = file_dims == 3 and image_io.spacing_lost(shapes.values(), self._spacings())
        self.pictures = file_dims == 2
        unknown = self.pictures and not reader.recipe.get("spacing")
        self.unit = "px" if unknown else "voxel" if lost else "mm"
        sliced = self.spatial_dims < file_dims
        self.images = tuple(
            Image(case.id, case.subject, slice)
            for case in reader.cases
            for slice in range(shapes[case.id][-1] if sliced else 1)
        )

    def _spacings(self) -> Iterator[tuple[float, ...]]:
        return (self.reader.spacing(case) for case in self.reader.cases if self.reader.files(case))

    @cached_property
    def spacings(self) -> list[tuple[float, ...]]:
        """Smallest and largest voxel edges in mm along the RAS axes; empty if the unit is not mm or no file has any."""
        found = list(self._spacings()) if self.unit == "mm" else []
        return _range(found) if found else []

    @cached_property
    def spacing(self) -> tuple[float, ...] | None:
        """Median edges in mm of the voxels that networks see; None if the unit is not mm or no file has a spacing."""
        found = [
            tuple(
                edge * old / new if self.preprocessing.fit == "resize" else edge
                for edge, old, new in zip(self.reader.spacing(case), self.reader.shape(case), self.size, strict=False)
            )
            for case in self.reader.cases
            if self.unit == "mm" and self.reader.files(case)
        ]
        return tuple(map(median, zip(*found, strict=True))) if found else None

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.definition.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by class index, the background first."""
        return self.reader.classes

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names."""
        return self.reader.channels

    def verify(self, report: Callable[[int, int], None] = lambda done, total: None) -> dict[str, str]:
        """Return the SHA-256 checksum of the files of every case, by case id; the result is kept.

        Args:
            report: Called with the number of cases read so far and the number of cases to read, after each case.

        Raises:
            DatasetError: when a file is missing or cannot be read.
        """
        if self._checksums is None:
            self._checksums = checksums(self.reader, self._cache, self.largest_case, report)
        return self._checksums

    @cached_property
    def checksum(self) -> str:
        """Checksum over the content of all cases, the classes, the channels and how files are read."""
        content: list[Any] = [
            self.channels,
            self.classes,
            sorted(self.reader.coding.items()),
            [(c.id, c.subject, self.verify()[c.id]) for c in self.reader.cases],
        ]
        if self.reader.recipe:  # ids of published runs are hashes without one
            content.append(self.reader.recipe)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def seen(self) -> tuple[int, ...]:
        """Spatial size in voxels of a network input during training: the patch size, or the image size without one."""
        return self.patch or self.size

    @property
    def tiles(self) -> int:
        """Number of patches needed to cover an image; 1 if training uses whole images."""
        return math.prod(-(-edge // part) for edge, part in zip(self.size, self.seen, strict=True))

    def split(
        self, n_train: int | None, fold: int, folds: int, training_set: int = 0, kind: SplitKind = "held_out"
    ) -> Split:
        """Return the split for one fold, see `stampbench.datasets.split.split`; results are kept for further runs.

        Args:
            n_train: Number of training and validation images together; None: all that are available.
            fold: Index of the fold that validates or, with cross-validation, that is tested, from 0.
            folds: Number of folds.
            training_set: Number of the training set, from 0.
            kind: How test subjects are chosen.

        Raises:
            DatasetError: when the dataset does not have enough images, subjects or folds.
        """
        key = (n_train, fold, folds, training_set, kind)
        if key not in self._splits:
            self._splits[key] = split(self.definition, self.images, *key)
        return self._splits[key]

    def find(self, cases: Collection[str]) -> dict[str, PreparedCase]:
        """Return the locations of prepared cases, whether or not they have been prepared yet.

        Args:
            cases: Ids of the cases.

        Raises:
            DatasetError: when a file is missing or cannot be read.
        """
        coding = repr(sorted(self.reader.coding.items()))
        return {
            case.id: find_case(
                case,
                self.preprocessing,
                (self.definition.version, self.verify()[case.id], coding),
                self._cache,
            )
            for case in self.reader.cases
            if case.id in cases
        }

    def prepare(
        self, cases: Collection[str], report: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, PreparedCase]:
        """Return prepared cases; those that are not in the cache are prepared, several at a time.

        Args:
            cases: Ids of the cases.
            report: Called with the number of finished cases and the number of all cases, after each case.

        Raises:
            DatasetError: when a case cannot be used; the message names it.
        """
        prepared = self.find(cases)
        chosen = [case for case in self.reader.cases if case.id in prepared]
        for _ in in_threads(
            lambda case: prepare_case(self.reader, case, prepared[case.id]), chosen, self.largest_case, report
        ):
            pass
        return prepared

    def _choose_patch(self) -> tuple[int, ...] | None:
        """Return the patch size of the definition or the automatic one; None if it would cover the whole image."""
        requested = self.definition.patch
        if requested == "auto":
            large = self.spatial_dims == 3 and math.prod(self.size) > WHOLE
            requested = (_PATCH,) * 3 if large else None
        if requested is None:
            return None
        if len(requested) != self.spatial_dims:
            raise DatasetError(
                f"dataset '{self.name}': patch size {_format_size(requested)} does not fit {self.spatial_dims}D images"
            )
        patch = tuple(map(min, requested, self.size))
        return patch if patch != self.size else None


def _range(sizes: Collection[tuple[_Number, ...]]) -> list[tuple[_Number, ...]]:
    """Return the smallest and the largest value of each axis."""
    return [tuple(map(choose, zip(*sizes, strict=True))) for choose in (min, max)]


def _format_size(edges: tuple[int, ...]) -> str:
    return "×".join(map(str, edges))


def open_dataset(definition: Definition, data_root: Path | None = None, cache: Path | None = None) -> Dataset:
    """Open a dataset: find its cases and check that they fit its definition.

    Args:
        definition: The dataset's definition.
        data_root: Folder that contains the datasets' folders; not needed for absolute folders and synthetic datasets.
        cache: Folder for prepared cases; None: STAMPBENCH_CACHE or the user's cache folder.

    Raises:
        DatasetError: when the files are missing (the message names the folder that was searched) or not usable.
    """
    reader, folder = open_reader(definition, data_root)
    return Dataset(definition, reader, folder, cache or cache_folder())


def open_reader(definition: Definition, data_root: Path | None = None) -> tuple[CaseReader, Path | None]:
    """Return a reader of the dataset's cases, and the folder of its files (None for a synthetic dataset).

    No image is opened.

    Args:
        definition: The dataset's definition.
        data_root: Folder that contains the datasets' folders.

    Raises:
        DatasetError: when the files are missing or in a different layout.
    """
    if definition.phantom is not None:
        return PhantomReader(definition, definition.phantom), None
    folder = definition.place(data_root)
    if not folder.is_dir():
        raise DatasetError(f"dataset '{definition.name}': folder {folder} not found; {definition.remedy}")
    try:
        patterns = definition.patterns
        reader = FolderReader(folder, definition) if patterns is None else PatternReader(folder, definition, patterns)
        check_names(reader.cases)
        return reader, folder
    except DatasetError as error:
        if definition.files is None:
            raise
        raise DatasetError(
            f"dataset '{definition.name}': {error}; {definition.remedy}", setting=error.setting
        ) from error
