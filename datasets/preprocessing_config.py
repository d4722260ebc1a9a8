"""How a case is prepared, as data; it is recorded with every run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class PreprocessingConfig(BaseModel, frozen=True):
    """Orientation to RAS, `fit` to `size`, clipping to `clip_range`, z-score per channel over the case.

    The files were cut to a box of `crop` voxels around the label, where that is given.

    With `spatial_dims` of 2 a volume becomes slices along its last axis. `fit` of `resize` averages over the voxels
    that become one, before anything else; `pad` pads with zeros, or crops, around the centre after everything else.
    """

    spatial_dims: int
    size: tuple[int, ...]
    fit: Literal["pad", "resize"] = "pad"
    clip_range: tuple[float, float] | None = None
    crop: tuple[int, ...] | None = None
