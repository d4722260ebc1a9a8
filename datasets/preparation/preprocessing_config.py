"""The preprocessing settings of a case as data; every run record contains them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, Field

from stampbench.datasets.definition import Definition

_MULTIPLE = 16
"""Sizes that a definition does not give are rounded up to a multiple of this: four poolings, the default depth."""


class PreprocessingConfig(BaseModel, frozen=True):
    """Settings of preprocessing, whose steps are applied in this order.

    1. If `crop` is given, the image is cut to a box around the label.
    2. The axes are oriented to RAS.
    3. If `fit` is `resize`, the image is resized to `size`, averaging over the voxels that are merged into one.
    4. If `clip_range` is given, intensities are clipped to it.
    5. Each channel is normalised to z-scores over the case.
    6. If `spatial_dims` is 2 and the image is a volume, it becomes slices along its last axis.
    7. If `fit` is `pad`, the image is padded with zeros, or cropped, around its centre to `size`.
    """

    spatial_dims: int = Field(description="dims of the images that networks see, 2 or 3")
    size: tuple[int, ...] = Field(description="prepared size in voxels per axis")
    fit: Literal["pad", "resize"] = Field("pad", description="how an image gets its size: pad (and crop) or resize")
    clip_range: tuple[float, float] | None = Field(
        None, description="lowest and highest intensity that is kept, in units of the files; null: all"
    )
    crop: tuple[int, ...] | None = Field(
        None, description="edges in voxels of the box around the label, along the RAS axes"
    )

    @classmethod
    def of(cls, definition: Definition, shapes: Collection[tuple[int, ...]]) -> PreprocessingConfig:
        """Return the settings of a dataset.

        Args:
            definition: The dataset's definition.
            shapes: Spatial shapes of its images in RAS orientation, all with the same number of axes.
        """
        dims = definition.spatial_dims or len(next(iter(shapes)))
        largest = [max(edges) for edges in zip(*shapes, strict=True)]
        size = definition.size or tuple(-(-edge // _MULTIPLE) * _MULTIPLE for edge in largest[:dims])
        return cls(
            spatial_dims=dims, size=size, fit=definition.fit, clip_range=definition.clip_range, crop=definition.crop
        )
