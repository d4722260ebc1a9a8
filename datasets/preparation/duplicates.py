"""Images that occur in several cases."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stampbench.datasets.dataset_json import Case
from stampbench.datasets.preparation.preprocessing import oriented_to_ras
from stampbench.datasets.readers.reader import RawCase

REMEDY = "delete all but one of them, or define the subject pattern so that they have the same subject"


def image_digest(raw: RawCase) -> str:
    """Return a SHA-256 checksum of a case's image in RAS orientation, whatever its file format."""
    image = raw.image if raw.affine is None else oriented_to_ras(raw.image, raw.affine)[0]
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def find_copies(cases: Iterable[Case]) -> list[tuple[tuple[str, ...], bool]]:
    """Return what `find_duplicates` does, of equal image files; only files of the same size are read.

    Raises:
        OSError: when a file cannot be read.
    """
    by_size = defaultdict(list)
    for case in cases:
        if case.images:
            by_size[tuple(path.stat().st_size for path in case.images)].append(case)
    alike = [case for same in by_size.values() if len(same) > 1 for case in same]
    return find_duplicates((case.id, case.subject, _files_digest(case.images)) for case in alike)


def _files_digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


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
