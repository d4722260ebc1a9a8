"""Paths of the files of a dataset as patterns with `{case}` and `{subject}`, for files in any layout."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

PLACEHOLDERS = ("case", "subject")
TOKEN = re.compile(r"\{(?P<name>[^{}]*)\}|(?P<folders>\*\*/)|(?P<any>\*+)|(?P<one>\?)|(?P<text>[^{}*?]+|.)")
"""Parts of a pattern."""


class Patterns(BaseModel, frozen=True, extra="forbid"):
    """Paths of a dataset's files, relative to its folder, and how they are read.

    `{case}` is the case id, and `{subject}` the subject if it is part of the path; then both make the case id. `*`
    stands for any text within a name, `**/` for any folders.

    Attributes:
        images: Pattern of the image of each channel, or one pattern of images that have all channels.
        labels: Patterns of label maps that have a value for each class; several label maps of a case are united.
        masks: Patterns of masks of a single class, by class name; any value but 0 is the class.
        channels: Names of the channels.
        colour: `grey` reads images with three equal colour channels as one channel, `rgb` grey ones as three; neither
            reads transparency. None: images are read as they are.
        priority: Classes in the order in which they keep pixels that several classes claim; empty: that is an error.
        resize_labels: Whether label maps of another size are resized to the image (nearest neighbour).
        spacing: Voxel or pixel size in mm along the axes of the files, for formats that have none.
        ignore: Patterns of files that are left out.
        structures: Names of the structures of a mask's class in DICOM-SEG and RTSTRUCT files, by class name; by default
            the class has the name of the structure.
    """

    images: tuple[str, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    masks: dict[str, str] = {}
    channels: tuple[str, ...] = ("image",)
    colour: Literal["grey", "rgb"] | None = None
    priority: tuple[str, ...] = ()
    resize_labels: bool = False
    spacing: tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...] | None = None
    ignore: tuple[str, ...] = ()
    structures: dict[str, tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _check(self) -> Patterns:
        if not self.labels and not self.masks:
            raise ValueError("neither labels nor masks are given")
        if unknown := sorted({*self.structures} - {*self.masks}):
            raise ValueError(f"structures of '{unknown[0]}', which is no class with a pattern of its own")
        for pattern in (*self.images, *self.labels, *self.masks.values()):
            names = [match["name"] for match in TOKEN.finditer(pattern) if match["name"] is not None]
            if unknown := [name for name in names if name not in PLACEHOLDERS]:
                raise ValueError(f"pattern '{pattern}': '{{{unknown[0]}}}' is unknown; known: {{case}}, {{subject}}")
            if "case" not in names:
                raise ValueError(f"pattern '{pattern}' has no {{case}}")
            if "subject" in names and not all("{subject}" in image for image in self.images):
                raise ValueError(f"pattern '{pattern}' has {{subject}}, but not every image pattern has it")
            if pattern.startswith("/") or ".." in pattern.split("/"):
                raise ValueError(f"pattern '{pattern}': patterns are relative to the folder, and stay in it")
        if self.spacing is not None and len(self.spacing) not in (2, 3):
            raise ValueError(f"spacing {self.spacing}: two or three numbers are required")
        return self
