"""Types of recorded values with their bounds; whatever is outside them is refused where it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

_LONGEST_NAME = 200
"""Bytes of a folder's name; file systems take 255, and hidden folders beside it have longer names."""


def _path_name(value: str) -> str:
    controls = any(ord(character) < 32 or 127 <= ord(character) < 160 for character in value)
    if value in ("", ".", "..") or controls or "/" in value or "\\" in value:
        raise ValueError("is not the name of a folder")
    if len(value.encode()) > _LONGEST_NAME:
        raise ValueError(f"is longer than {_LONGEST_NAME} bytes")
    return value


PathName = Annotated[str, AfterValidator(_path_name)]
"""Text that is the name of one folder: no separators, no control characters."""

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
"""Id of a run, or of a group of runs."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal digits."""

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""Dice and other scores between 0 and 1."""

Distance = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
"""Distance in the dataset's unit, finite and not negative."""

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
"""Seconds, joules and other finite amounts."""

Finite = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
"""Any finite number."""

Count = Annotated[int, Field(ge=0, le=2**53)]
"""Number of things; tables hold it exactly."""

Edge = Annotated[int, Field(ge=1, le=100_000)]
"""Voxels along one axis."""

Edges = Annotated[tuple[Edge, ...], Field(min_length=2, max_length=3)]
"""Voxels per axis."""
