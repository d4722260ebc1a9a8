"""An opened dataset: its cases found, its classes known, its images prepared on demand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path

from stampbench.datasets.cache import cache_folder, checksums, find_case, prepare_case
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers import CaseReader, FolderReader, PhantomReader
from stampbench.datasets.split import Image, Split, split
from stampbench.datasets.threads import in_threads

_MULTIPLE = 16
"""Sizes that no definition gives are rounded up to this: four poolings, the default depth."""
WHOLE = 160**3
"""Volumes of more voxels are trained in patches; the largest that STAMP's paper trains whole (Table 1)."""
_PATCH = 128


class Dataset:
    """A segmentation task whose cases are present on this machine.

    Attributes:
        spatial_dims: dims of the images that a network sees: 2 for slices of volumes.
        size: their prepared spatial size, a multiple of 16 on every axis unless the definition says otherwise.
        images: every image a network can see, in the order of cases: a case, or each of its slices.
        unit: of distances, `mm` where spacing is known, else `px`.
        largest_case: bytes of its image as float32, at most.
        patch: what training sees of an image at a time, smaller than `size`; None: all of it.
        checksum: over the content of every case, the classes and the channels.
    """

    def __init__(self, definition: Definition, reader: CaseReader, folder: Path | None, cache: Path) -> None:
        self.definition, self.reader, self.folder = definition, reader, folder
        self._cache = cache / definition.name
        self._checksums: dict[str, str] | None = None
        self._splits: dict[tuple[int | None, int, int], Split] = {}
        if len(reader.classes) < 2:
            raise DatasetError(f"{definition.name}: has no class besides the background")
        shapes = {case.id: reader.shape(case) for case in reader.cases}
        dims = {len(shape) for shape in shapes.values()}
        if len(dims) > 1:
            raise DatasetError(f"{definition.name}: mixes 2D and 3D images")
        file_dims = dims.pop()
        self.spatial_dims = definition.spatial_dims or file_dims
        if self.spatial_dims > file_dims:
            raise DatasetError(f"{definition.name}: has 2D images, which cannot be used as 3D")
        largest = [max(sizes) for sizes in zip(*shapes.values(), strict=True)]
        self.largest_case = 4 * len(reader.channels) * max(map(reader.voxels, reader.cases))
        self.size = definition.size or tuple(
            -(-edge // _MULTIPLE) * _MULTIPLE for edge in largest[: self.spatial_dims]
        )  # fmt: skip
        if len(self.size) != self.spatial_dims:
            raise DatasetError(f"{definition.name}: size {_by(self.size)} is not one of {self.spatial_dims}D images")
        self.patch = self._patch()
        self.unit = "mm" if file_dims == 3 else "px"
        sliced = self.spatial_dims < file_dims
        self.images = tuple(
            Image(case.id, case.subject, slice)
            for case in reader.cases
            for slice in range(shapes[case.id][-1] if sliced else 1)
        )
        self.preprocessing = PreprocessingConfig(
            spatial_dims=self.spatial_dims,
            size=self.size,
            fit=definition.fit,
            clip_range=definition.clip_range,
            crop=definition.crop,
        )

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by index, the background first."""
        return self.reader.classes

    @property
    def channels(self) -> tuple[str, ...]:
        return self.reader.channels

    def verify(self, report: Callable[[int, int], None] = lambda done, of: None) -> dict[str, str]:
        """Per case id the SHA-256 of its files; `report` hears of every case that is read.

        Raises:
            DatasetError: a file that is missing or cannot be read.
        """
        if self._checksums is None:
            self._checksums = checksums(self.reader, self._cache, self.largest_case, report)
        return self._checksums

    @cached_property
    def checksum(self) -> str:
        content = [
            self.channels,
            self.classes,
            sorted(self.reader.coding.items()),
            [(c.id, c.subject, self.verify()[c.id]) for c in self.reader.cases],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def seen(self) -> tuple[int, ...]:
        """The size of what a network sees in training."""
        return self.patch or self.size

    @property
    def tiles(self) -> int:
        """How many patches cover an image; 1 where it is seen whole."""
        return math.prod(-(-edge // part) for edge, part in zip(self.size, self.seen, strict=True))

    def split(self, n_train: int | None, fold: int, folds: int) -> Split:
        """As `stampbench.datasets.split.split`; worked out once for all strategies and seeds.

        Raises:
            DatasetError: a split that the dataset does not allow.
        """
        key = (n_train, fold, folds)
        if key not in self._splits:
            self._splits[key] = split(self.definition, self.images, *key)
        return self._splits[key]

    def find(self, cases: Collection[str]) -> dict[str, PreparedCase]:
        """Where the named cases are, or will be, prepared."""
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
        self, cases: Collection[str], report: Callable[[int, int], None] = lambda done, of: None
    ) -> dict[str, PreparedCase]:
        """Prepare the named cases, several at a time, or find them in the cache; `report` hears of each.

        Raises:
            DatasetError: a case that cannot be used, named.
        """
        prepared = self.find(cases)
        chosen = [case for case in self.reader.cases if case.id in prepared]
        for _ in in_threads(
            lambda case: prepare_case(self.reader, case, prepared[case.id]), chosen, self.largest_case, report
        ):
            pass
        return prepared

    def _patch(self) -> tuple[int, ...] | None:
        asked = self.definition.patch
        if asked == "auto":
            large = self.spatial_dims == 3 and math.prod(self.size) > WHOLE
            asked = (_PATCH,) * 3 if large else None
        if asked is None:
            return None
        if len(asked) != self.spatial_dims:
            raise DatasetError(f"{self.name}: patch {_by(asked)} is not one of {self.spatial_dims}D images")
        patch = tuple(map(min, asked, self.size))
        return patch if patch != self.size else None


def _by(edges: tuple[int, ...]) -> str:
    return "×".join(map(str, edges))


def open_dataset(definition: Definition, data_root: Path | None = None, cache: Path | None = None) -> Dataset:
    """Find a dataset's files; prepared cases are kept in `cache` (None: the user's).

    Raises:
        DatasetError: they are absent (the message names the folder looked for), or not usable.
    """
    reader, folder = open_reader(definition, data_root)
    return Dataset(definition, reader, folder, cache or cache_folder())


def open_reader(definition: Definition, data_root: Path | None = None) -> tuple[CaseReader, Path | None]:
    """Find a dataset's cases without looking into them; and their folder.

    Raises:
        DatasetError: they are absent, or in another layout.
    """
    if definition.phantom is not None:
        return PhantomReader(definition, definition.phantom), None
    folder = definition.place(data_root)
    if not folder.is_dir():
        raise DatasetError(f"dataset '{definition.name}' not found: looked for {folder}; {definition.remedy}")
    try:
        return FolderReader(folder, definition), folder
    except DatasetError as error:
        if definition.files is None:
            raise
        raise DatasetError(f"dataset '{definition.name}': {error}; {definition.remedy}") from error
