"""Data classes that define a dataset: its files, classes, preprocessing and split."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, PositiveInt, ValidationError, model_validator

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.matching.patterns import Patterns

Edges = tuple[PositiveInt, ...]
"""A size in voxels, one number per axis."""
Label = Annotated[int, Field(gt=0, lt=100_000)]
"""A label value of a class."""
Text = Annotated[str, Field(max_length=2000)]
"""A text that is shown to users."""
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Intensity = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]


def _file_name(text: str) -> str:
    if not text.isprintable() or text in (".", "..") or "/" in text or "\\" in text:
        raise ValueError("not a name: folders are named after it")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_file_name)]
"""Name of a dataset, and of its folder in the cache and in stores."""

WHOLE = 160**3
"""Volumes with more voxels are trained on patches; the largest ones that STAMP's paper trains whole (Table 1)."""


class Phantom(BaseModel, frozen=True, extra="forbid"):
    """Parameters of a synthetic dataset.

    Attributes:
        cases: Number of cases.
        size: Edge length in voxels; must be a multiple of 16. An image has at most 2^24 voxels.
    """

    cases: int = Field(ge=1, le=100_000)
    size: int = Field(ge=1, le=4096)


class Archive(BaseModel, frozen=True, extra="forbid"):
    """A tar archive that can be downloaded.

    Attributes:
        url: Address of the archive.
        md5: Its MD5 checksum; None if nobody has published one.
        folder: Folder below the data root to unpack it into. If the archive contains a single top-level folder, that
            folder is renamed to `folder`.
    """

    url: str = Field(pattern=r"^https?://[^/\s]+/([^\s]*/)?[\w.-]*\w$")
    md5: str | None
    folder: str = Field(pattern=r"^[\w -]+(/[\w -]+)*$")


class Files(BaseModel, frozen=True, extra="forbid"):
    """Paths of the files in a dataset folder that has no `dataset.json`.

    Attributes:
        label: Regular expression that matches the path of a label map relative to the folder, with `/` as separator.
            Its group `subject` is the subject id.
        images: Path of the image of each channel, relative to the folder. `{group}` is replaced by what a group of
            `label` matched.
        case: Case id, with the same replacements.
        channels: Names of the channels.
    """

    label: str
    images: tuple[str, ...] = Field(min_length=1)
    case: str
    channels: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_groups(self) -> Files:
        try:
            groups = re.compile(self.label).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"label '{self.label[:99]}' is not a regular expression ({error})") from error
        if "subject" not in groups:
            raise ValueError(f"label '{self.label}' has no group 'subject'; add (?P<subject>…)")
        for template in (*self.images, self.case):
            try:
                parts = list(Formatter().parse(template))
            except ValueError as error:
                raise ValueError(f"'{template}' has more than names in braces ({error})") from None
            for _, name, width, conversion in parts:
                if name is not None and name not in groups:
                    raise ValueError(f"'{template}' uses the group '{name}', which label does not define")
                if width or conversion:
                    raise ValueError(f"'{template}' has more than names in braces")
        return self


class Definition(BaseModel, frozen=True, extra="forbid"):
    """A dataset as plain data: where its files are, and how cases are prepared and split.

    Attributes:
        name: Name of the dataset, as users type it.
        version: Version of the definition; part of the split and of the cache key.
        summary: Images and structures, in a few words.
        licence: Licence of the data. The one that `dataset.json` states takes precedence.
        citation: Publication to cite.
        synthetic: Whether the images are generated.
        phantom: Parameters of a synthetic dataset; None for one made of files.
        folder: Folder of the files, below the data root or absolute. It contains a `dataset.json` unless `files` is
            given.
        files: Paths of the files in a folder without `dataset.json`.
        patterns: Paths of files in any layout, and how they are read.
        archive: Archive with the files, if it can be downloaded.
        obtain: What a user has to do apart from a download, in words; empty if nothing.
        layout: Files that the folder must contain, in words.
        classes: Label values of each foreground class, by class name; None: the classes of `dataset.json`.
        background: Label values other than 0 that count as background.
        spatial_dims: Number of spatial dimensions of the network inputs; None: that of the files. With 2, volumes are
            cut into slices along their last axis, which is the axial one after orientation to RAS.
        size: Size of prepared images in voxels; None: large enough for the largest image.
        crop: Edges in voxels of a box around the centre of the label to which files are cut; None: no box.
        fit: How an image is brought to `size`: padded and cropped around its centre, or resized.
        clip_range: Lowest and highest intensity that is kept, in the unit of the files; None: no clipping.
        patch: Patch size for training on larger images, in voxels of the prepared image. `auto` trains volumes of
            more than 160³ voxels on patches with edges of at most 128 voxels; None trains on whole images.
        test_cases: Ids of the cases whose subjects are the test subjects; empty: they are drawn.
        test_subjects: Number of held-out test subjects; None: a quarter of all subjects.
        split_version: What the order of subjects and images is made from: 1, the dataset's name and version and their
            ids; 2, their ids alone, so that the same data under another name has the same test subjects.
        subject_pattern: Regular expression whose first group in a case id is the subject id; None: every case is a
            subject of its own, or `files` defines the subject.
        surface_tolerance: Tolerance of the normalised surface Dice, in mm, or in pixels or voxels if the spacing is
            unknown.
        source: Folder or file that defines it; None: it is a named one.
        equivalence_margin: Dice within which two strategies count as equivalent; to be set before any run.
    """

    name: Name
    version: Text = "1"
    summary: Text
    licence: Text = "as stated by its owner"
    citation: Text = ""
    synthetic: bool = False
    phantom: Phantom | None = None
    folder: str | None = None
    files: Files | None = None
    patterns: Patterns | None = None
    archive: Archive | None = None
    obtain: Text = ""
    layout: Text = ""
    classes: dict[Text, tuple[Label, ...]] | None = Field(None, max_length=255)
    background: tuple[Label, ...] = ()
    spatial_dims: Literal[2, 3] | None = None
    size: Edges | None = None
    crop: Edges | None = None
    fit: Literal["pad", "resize"] = "pad"
    clip_range: tuple[Intensity, Intensity] | None = None
    patch: Edges | Literal["auto"] | None = Field("auto", description="patch size in voxels of the prepared image")
    test_cases: tuple[str, ...] = ()
    test_subjects: PositiveInt | None = None
    split_version: Literal[1, 2] = 1
    subject_pattern: str | None = None
    surface_tolerance: Length = 1.0
    equivalence_margin: Annotated[float, Field(gt=0, le=1)] = 0.01
    source: str | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> Definition:
        values = [value for group in (self.classes or {}).values() for value in group] + [*self.background]
        if len(values) != len(set(values)):
            raise ValueError("a label value belongs to two classes, or to a class and the background")
        if self.classes is not None and not all(self.classes.values()):
            raise ValueError("a class has no label value")
        if self.files is not None and not self.classes:
            raise ValueError("'files' requires 'classes', because there is no dataset.json that declares them")
        if self.patterns is not None and self.patterns.labels and not self.classes:
            raise ValueError("label maps require 'classes', which say what their values mean")
        classes = {*(self.classes or {}), *(self.patterns.masks if self.patterns else {})}
        for name in self.patterns.priority if self.patterns else ():
            if name not in classes:
                raise ValueError(f"priority names '{name}', which is none of the classes {', '.join(sorted(classes))}")
        if self.clip_range is not None and not self.clip_range[0] < self.clip_range[1]:
            raise ValueError(f"clip_range {self.clip_range}: the first number must be lower than the second")
        if self.crop is not None and len(self.crop) != 3:
            raise ValueError(f"crop {self.crop}: three edges are required")
        return self

    @property
    def arrival(self) -> str:
        """How a user gets the data, in a few words."""
        if self.phantom is not None:
            return "built in"
        if self.archive is None:
            return "your own copy"
        return "download, then your own labels" if self.obtain else "download"

    @property
    def remedy(self) -> str:
        """What a user can do if the data is missing, for use in error messages."""
        if self.source is not None:
            return f"it is defined by {self.source}"
        if self.archive is not None and not self.obtain:
            return f"run 'stampbench datasets download {self.name}' to download it"
        return f"run 'stampbench datasets show {self.name}' to see how to get it and which files it needs"

    def place(self, data_root: Path | None) -> Path:
        """Return the folder that must contain the files.

        Args:
            data_root: Folder that contains the datasets' folders; not needed if the definition's folder is absolute.

        Raises:
            DatasetError: when a data root is needed and not given.
        """
        assert self.folder is not None
        if Path(self.folder).is_absolute():
            return Path(self.folder)
        if data_root is None:
            raise DatasetError(
                f"dataset '{self.name}': no data root is set, so its folder {self.folder} cannot be found; set the "
                f"environment variable STAMPBENCH_DATA to the folder that contains or will contain it; {self.remedy}",
                setting="data_root",
            )
        return data_root / self.folder


def folder_definition(folder: Path) -> Definition:
    """Return the definition of a user's own folder in Decathlon or nnU-Net v2 layout, named after the folder.

    Raises:
        DatasetError: when a dataset cannot have the folder's name.
    """
    folder = folder.expanduser().resolve()
    try:
        return Definition(
            name=folder.name,
            summary=f"the folder {folder.name}",
            folder=str(folder),
            split_version=2,
            source=str(folder),
        )
    except ValidationError as error:
        raise DatasetError(f"{folder}: a dataset cannot have the name '{folder.name}'; rename the folder") from error
