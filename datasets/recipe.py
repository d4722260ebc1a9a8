"""How a case is prepared, as data; it is recorded with every run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Recipe(BaseModel, frozen=True):
    """RAS orientation, `fit` to `size`, clipping to `window`, z-score per channel over the case.

    With `spatial_dims` of 2 a volume becomes slices along its last axis. `fit` of `resize` averages over the voxels
    that become one, before anything else; `pad` pads with zeros, or crops, around the centre after everything else.
    """

    spatial_dims: int
    size: tuple[int, ...]
    fit: Literal["pad", "resize"] = "pad"
    window: tuple[float, float] | None = None
