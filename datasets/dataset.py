"""An opened dataset: its cases found, its classes known, its images prepared on demand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path

from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.prepare import PreparedCase, Recipe, prepare_case
from stampbench.datasets.source import FolderSource, PhantomSource, Source
from stampbench.datasets.split import Image

_MULTIPLE = 16
"""Sizes that no definition gives are rounded up to this: four poolings, the default depth."""


class Dataset:
    """A segmentation task whose cases are present on this machine.

    Attributes:
        spatial_dims: dims of the images that a network sees: 2 for slices of volumes.
        size: their prepared spatial size, a multiple of 16 on every axis unless the definition says otherwise.
        images: every image a network can see, in the order of cases: a case, or each of its slices.
        unit: of distances, `mm` where spacing is known, else `px`.
        checksum: over the content of every case, the classes and the channels.
    """

    def __init__(self, definition: Definition, source: Source, folder: Path | None) -> None:
        self.definition, self.source, self.folder = definition, source, folder
        if len(source.classes) < 2:
            raise DatasetError(f"{definition.name}: has no class besides the background")
        shapes = {case.id: source.shape(case) for case in source.cases}
        dims = {len(shape) for shape in shapes.values()}
        if len(dims) > 1:
            raise DatasetError(f"{definition.name}: mixes 2D and 3D images")
        file_dims = dims.pop()
        self.spatial_dims = definition.spatial_dims or file_dims
        if self.spatial_dims > file_dims:
            raise DatasetError(f"{definition.name}: has 2D images, which cannot be used as 3D")
        largest = [max(sizes) for sizes in zip(*shapes.values(), strict=True)][: self.spatial_dims]
        self.size = definition.size or tuple(-(-edge // _MULTIPLE) * _MULTIPLE for edge in largest)
        self.unit = "mm" if file_dims == 3 else "px"
        sliced = self.spatial_dims < file_dims
        self.images = tuple(
            Image(case.id, case.subject, slice)
            for case in source.cases
            for slice in range(shapes[case.id][-1] if sliced else 1)
        )
        self.recipe = Recipe(spatial_dims=self.spatial_dims, size=self.size)

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by index, the background first."""
        return self.source.classes

    @property
    def channels(self) -> tuple[str, ...]:
        return self.source.channels

    @cached_property
    def checksums(self) -> dict[str, str]:
        """Per case id the SHA-256 of its files."""
        return {case.id: self.source.checksum(case) for case in self.source.cases}

    @cached_property
    def checksum(self) -> str:
        content = [
            self.channels,
            self.classes,
            self.source.values,
            [(c.id, c.subject, self.checksums[c.id]) for c in self.source.cases],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def prepare(
        self, cases: Collection[str], cache: Path, report: Callable[[int, int], None] = lambda done, of: None
    ) -> dict[str, PreparedCase]:
        """Prepare the named cases, or find them in `cache`; `report` hears of each.

        Raises:
            DatasetError: a case that cannot be used, named.
        """
        prepared: dict[str, PreparedCase] = {}
        for case in self.source.cases:
            if case.id in cases:
                identity = (self.definition.version, self.checksums[case.id], repr(self.source.values))
                prepared[case.id] = prepare_case(self.source, case, self.recipe, identity, cache / self.name)
                report(len(prepared), len(cases))
        return prepared


def open_dataset(definition: Definition, data_root: Path | None = None) -> Dataset:
    """Find a dataset's files.

    Raises:
        DatasetError: they are absent (the message names the folder looked for), or not usable.
    """
    if definition.phantom is not None:
        sized = definition.model_copy(update={"size": (definition.phantom.size,) * (definition.spatial_dims or 2)})
        return Dataset(sized, PhantomSource(sized, definition.phantom), None)
    assert definition.folder is not None
    folder = Path(definition.folder)
    if not folder.is_absolute():
        if data_root is None:
            raise DatasetError(
                f"dataset '{definition.name}' needs the folder {folder}, and no data root is given; set --data-root or "
                f"STAMPBENCH_DATA to the folder that holds it, or fetch it: {definition.download}"
            )
        folder = data_root / folder
        if not folder.is_dir():
            raise DatasetError(
                f"dataset '{definition.name}' not found: looked for {folder}; fetch it there: "
                f"cd {data_root} && {definition.download}"
            )
    return Dataset(definition, FolderSource(folder, definition.subject_pattern), folder)


def folder_definition(folder: Path) -> Definition:
    """The definition of anyone's own Decathlon or nnU-Net v2 folder, named like the folder."""
    folder = folder.expanduser().resolve()
    return Definition(name=folder.name, summary=f"the folder {folder.name}", folder=str(folder))
