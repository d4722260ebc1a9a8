"""A dataset as plain data."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator

from stampbench.datasets.errors import DatasetError

Edges = tuple[PositiveInt, ...]
"""A size in voxels, an edge per axis."""


class Phantom(BaseModel, frozen=True, extra="forbid"):
    """How many generated cases, and of which edge length in voxels (a multiple of 16)."""

    cases: PositiveInt
    size: PositiveInt


class Archive(BaseModel, frozen=True, extra="forbid"):
    """A tar file to fetch: its address, MD5 (None: nobody published one), and the folder that it becomes.

    `folder` is below the data root. An archive that holds a single folder becomes it, any other is unpacked into it.
    """

    url: str
    md5: str | None
    folder: str


class Files(BaseModel, frozen=True, extra="forbid"):
    """Where the files of a folder without `dataset.json` are.

    `label` is a regular expression for the path of a label map below the folder, with `/` between folders; its group
    `subject` is the subject. `images` are the paths of the channels and `case` is the case id; `{group}` in
    them stands for what a group of `label` matched.
    """

    label: str
    images: tuple[str, ...] = Field(min_length=1)
    case: str
    channels: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _groups_exist(self) -> Files:
        try:
            groups = re.compile(self.label).groupindex
        except re.error as error:
            raise ValueError(f"label '{self.label}' is no regular expression ({error})") from error
        if "subject" not in groups:
            raise ValueError(f"label '{self.label}' has no group 'subject'")
        for template in (*self.images, self.case):
            for _, name, _, _ in Formatter().parse(template):
                if name is not None and name not in groups:
                    raise ValueError(f"'{template}' names the group '{name}', which label does not have")
        return self


class Definition(BaseModel, frozen=True, extra="forbid"):
    """Where a dataset's cases are, how they are prepared and how they are split.

    `folder` is below the data root, or absolute; without `files` it has a `dataset.json`. `archive` can be fetched;
    `obtain` says in words what else a user has to do, and `layout` which files have to be there then.

    `classes` are the foreground classes by name, each with the label values that it is made of, and
    `background` are the values that count as background besides 0; without `classes` those of `dataset.json` hold.

    `spatial_dims` and `size` of None mean: as the files are, and large enough for the largest image.
    `spatial_dims` of 2 cuts volumes into slices along their last axis (axial, once oriented to RAS).
    `crop` cuts the files to a box of so many voxels around the centre of the label: a case is that box.
    `fit` says how an image gets its `size`: padded and cropped around its centre, or resized.
    `clip_range` clips intensities, in the unit of the files. `patch` is the patch size of training on larger images:
    `auto` cuts volumes of more than 160³ voxels into patches of at most 128 an edge, None nothing.

    `test_subjects` of None holds out a quarter. `subject_pattern` is a regular expression whose first
    group, found in a case id, is the subject; None means that every case is a subject of its own.
    `surface_tolerance` is that of the normalised surface Dice, in mm, or pixels where no spacing is known.
    """

    name: str
    version: str = "1"
    summary: str
    licence: str = "as stated by its owner"
    citation: str = ""
    synthetic: bool = False
    phantom: Phantom | None = None
    folder: str | None = None
    files: Files | None = None
    archive: Archive | None = None
    obtain: str = ""
    layout: str = ""
    classes: dict[str, tuple[PositiveInt, ...]] | None = None
    background: tuple[PositiveInt, ...] = ()
    spatial_dims: Literal[2, 3] | None = None
    size: Edges | None = None
    crop: Edges | None = None
    fit: Literal["pad", "resize"] = "pad"
    clip_range: tuple[float, float] | None = None
    patch: Edges | Literal["auto"] | None = Field("auto", description="in voxels of the prepared image")
    test_subjects: PositiveInt | None = None
    subject_pattern: str | None = None
    surface_tolerance: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _fits_together(self) -> Definition:
        values = [value for each in (self.classes or {}).values() for value in each] + [*self.background]
        if len(values) != len(set(values)):
            raise ValueError("a label value belongs to two classes, or to a class and the background")
        if self.classes is not None and not all(self.classes.values()):
            raise ValueError("a class has no label value")
        if self.files is not None and not self.classes:
            raise ValueError("files without dataset.json need classes")
        if self.clip_range is not None and not self.clip_range[0] < self.clip_range[1]:
            raise ValueError(f"clip_range {self.clip_range} does not go up")
        if self.crop is not None and len(self.crop) != 3:
            raise ValueError(f"crop {self.crop} is not a box in space")
        return self

    @property
    def arrival(self) -> str:
        """How the data gets here, in a word or two."""
        if self.phantom is not None:
            return "built in"
        if self.archive is None:
            return "your own copy"
        return "download, then your own labels" if self.obtain else "download"

    @property
    def remedy(self) -> str:
        """What to do when the data is not here."""
        if self.archive is not None and not self.obtain:
            return f"'stampbench datasets download {self.name}' fetches it"
        return f"'stampbench datasets show {self.name}' says how to get it and which files it has"

    def place(self, data_root: Path | None) -> Path:
        """The folder in which the files have to be.

        Raises:
            DatasetError: it is below a data root that is not given.
        """
        assert self.folder is not None
        if Path(self.folder).is_absolute():
            return Path(self.folder)
        if data_root is None:
            raise DatasetError(
                f"dataset '{self.name}' needs the folder {self.folder}, and no data root is given; set --data-root or "
                f"STAMPBENCH_DATA to the folder that holds it, or is to hold it; {self.remedy}"
            )
        return data_root / self.folder


def folder_definition(folder: Path) -> Definition:
    """The definition of anyone's own Decathlon or nnU-Net v2 folder, named like the folder."""
    folder = folder.expanduser().resolve()
    return Definition(name=folder.name, summary=f"the folder {folder.name}", folder=str(folder))
