"""A dataset as a user names it: a name or folder, and the form in which networks see it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from stampbench.benchmark.config.definition_file import ENDINGS, read_definition
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.errors import UserError, unknown
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Definition, folder_definition

if TYPE_CHECKING:  # it takes time to import
    from stampbench.datasets.dataset import Dataset


MOST_VOXELS = 1_000_000
"""Largest size of an axis."""


def parse_size(value: object) -> object:
    """Return a size such as `48x64x48`, `48,64,48` or `[48, 64, 48]` as a tuple; anything but text is returned as is.

    Raises:
        ValueError: when a text is not a size.
    """
    if not isinstance(value, str):
        return value
    parts = value.replace("×", ",").replace("x", ",").split(",")
    if not all(part.isdecimal() and 0 < int(part) <= MOST_VOXELS for part in parts):
        raise ValueError(f"not a size such as 64x64x64, of 1 to {MOST_VOXELS:,} voxels per axis")
    return tuple(map(int, parts))


Size = Annotated[tuple[int, ...], BeforeValidator(parse_size)]
"""Voxels per axis."""


def _patch_size(value: object) -> object:
    return value if value == "none" else parse_size(value)


class DatasetRequest(BaseModel, frozen=True, extra="forbid"):
    """Name, folder or parameters of a dataset, and the form in which networks see it; None: as its definition says."""

    name: str = Field(description="a name, a folder, a .yaml file, or phantom2d:size=48,cases=20")
    spatial_dims: Literal[2, 3] | None = Field(None, description="2 cuts the volumes of a folder into slices")
    subject_pattern: str | None = Field(None, description="its first group in a case id is the subject")
    split_version: Literal[1, 2] | None = Field(None, description="1 repeats runs of a folder from before version 2")
    image_size: Size | None = Field(None, description="images are padded and cropped, or resized, to this size")
    fit: Literal["pad", "resize"] | None = Field(None, description="pad: pad and crop around the centre; resize")
    patch_size: Annotated[tuple[int, ...] | Literal["none"] | None, BeforeValidator(_patch_size)] = Field(
        None, description="patch size of training; none: whole images"
    )

    def define(self) -> Definition:
        """Return the dataset's definition in this form.

        Raises:
            UserError: when the name is neither known nor a folder, or the form does not fit the dataset.
        """
        definition = find_definition(self.name)
        changes: dict[str, Any] = {}
        if self.spatial_dims is not None:
            dims = self.spatial_dims
            changes |= {"spatial_dims": dims, "size": definition.size and definition.size[:dims]}
            if definition.phantom or (definition.size and len(definition.size) != dims):
                raise UserError(
                    f"dataset '{definition.name}' has {definition.spatial_dims} spatial dims, not {dims}",
                    setting="spatial_dims",
                )
        if self.subject_pattern is not None:
            changes["subject_pattern"] = self.subject_pattern
        if self.split_version is not None:
            changes["split_version"] = self.split_version
        if (self.image_size or self.fit) and definition.phantom:
            raise UserError(
                f"dataset '{definition.name}': its image size is a parameter of its name: {definition.name}:size=48",
                setting="image_size",
            )
        if self.image_size is not None:
            changes["size"] = self.image_size
        if self.fit is not None:
            changes["fit"] = self.fit
        if self.patch_size is not None:
            changes["patch"] = None if self.patch_size == "none" else self.patch_size
        return definition.model_copy(update=changes)

    def open(self, data_root: Path | None) -> Dataset:
        """Open the dataset below `data_root`.

        Raises:
            UserError: when the name is not known or the form does not fit.
            DatasetError: when its files are absent or not usable.
        """
        from stampbench.datasets.dataset import open_dataset

        return open_dataset(self.define(), data_root)


def find_definition(text: str) -> Definition:
    """Return a dataset's definition by name, name and parameters (`phantom2d:size=48,cases=20`), file or folder.

    Raises:
        UserError: when the text is neither a known name nor an existing definition file or folder, or a parameter does
            not fit.
    """
    name, colon, parameters = text.partition(":")
    if text in CATALOGUE or (colon and name in CATALOGUE):
        definition = CATALOGUE[name]
        return _with_parameters(definition, parameters) if parameters else definition
    if text.lower().endswith(ENDINGS):
        return read_definition(Path(text).expanduser())
    try:
        if text and Path(text).expanduser().is_dir():
            return folder_definition(Path(text))
    except (OSError, RuntimeError) as error:  # a name that is too long, or the home folder of an unknown user
        raise UserError(f"dataset folder '{text}': {getattr(error, 'strerror', None) or error}") from error
    if os.sep in text or text.startswith("."):
        raise UserError(f"dataset folder '{text}' does not exist")
    raise unknown("dataset", text, [*CATALOGUE, "a folder", "a definition file (.yaml)"])


def _with_parameters(definition: Definition, text: str) -> Definition:
    if definition.phantom is None:
        raise UserError(f"dataset '{definition.name}' takes no parameters; got '{text}'")
    known, values = list(type(definition.phantom).model_fields), {}
    for part in text.split(","):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals or not key:
            raise UserError(f"dataset '{definition.name}': a parameter is key=value, not '{part}'")
        if key not in known:
            raise unknown(f"parameter of {definition.name}", key, known)
        values[key] = value
    given = definition.phantom.model_dump() | values
    phantom = validated(type(definition.phantom), f"dataset '{definition.name}'", given)
    return definition.model_copy(update={"phantom": phantom})
