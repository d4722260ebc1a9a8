"""Limit of the voxels of an image, checked before memory is allocated for them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from stampbench.datasets.errors import DatasetError

VARIABLE = "STAMPBENCH_MAX_VOXELS"
"""Environment variable with the largest accepted number of voxels of an image, all channels together."""
DEFAULT = 300_000_000
"""A CT scan of 512×512×1024 voxels is accepted; as 32-bit numbers, this many voxels take 1.2 GB."""


def max_voxels() -> int:
    """Return the limit.

    Raises:
        DatasetError: when the environment variable is not a positive number.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT)
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text)):
        raise DatasetError(f"{VARIABLE} is '{text}', which is not a number of voxels", setting="max_voxels")
    return int(text)


def check_voxels(what: object, shape: Sequence[int]) -> None:
    """Check the size of an image before it is read or made.

    Args:
        what: Name of the image in messages, such as its path.
        shape: Its shape, channels included.

    Raises:
        DatasetError: when it has no voxels, or more than the limit.
    """
    size = "×".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise DatasetError(f"{what}: has the size {size}, which is no image")
    if (voxels := math.prod(shape)) > (limit := max_voxels()):
        raise DatasetError(f"{what}: has {size} = {voxels:,} voxels, more than {limit:,}", setting="max_voxels")
