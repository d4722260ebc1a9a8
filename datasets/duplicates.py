"""Images that occur in several cases."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from stampbench.datasets.preprocessing import oriented_to_ras
from stampbench.datasets.readers import RawCase

REMEDY = "delete all but one of them, or define the subject pattern so that they have the same subject"


def image_digest(raw: RawCase) -> str:
    """Return a SHA-256 checksum of a case's image in RAS orientation, whatever its file format."""
    image = raw.image if raw.affine is None else oriented_to_ras(raw.image, raw.affine)[0]
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def find_duplicates(images: Iterable[tuple[str, str, str]]) -> list[tuple[tuple[str, ...], bool]]:
    """Return the ids of the cases that share an image, and whether they have different subjects.

    Args:
        images: Case id, subject id and digest of the image of each case.
    """
    by_digest = defaultdict(list)
    for case, subject, digest in images:
        by_digest[digest].append((case, subject))
    return [
        (tuple(case for case, _ in same), len({subject for _, subject in same}) > 1)
        for same in by_digest.values()
        if len(same) > 1
    ]
