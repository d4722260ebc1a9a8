"""A dataset as plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, PositiveFloat, PositiveInt


class Phantom(BaseModel, frozen=True, extra="forbid"):
    """How many generated cases, and of which edge length in voxels (a multiple of 16)."""

    cases: PositiveInt
    size: PositiveInt


class Definition(BaseModel, frozen=True, extra="forbid"):
    """Where a dataset's cases are, how they are prepared and how they are split.

    `spatial_dims` and `size` of None mean: as the files are, and large enough for the largest image.
    `spatial_dims` of 2 cuts volumes into slices along their last axis (axial, once oriented to RAS).
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
    download: str | None = None
    spatial_dims: Literal[2, 3] | None = None
    size: tuple[PositiveInt, ...] | None = None
    test_subjects: PositiveInt | None = None
    subject_pattern: str | None = None
    surface_tolerance: PositiveFloat = 1.0
