"""Trained weights that a user has, for strategies that start from a trained network."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from stampbench.benchmark.errors import UserError
from stampbench.models.weights.weights_file import find_weights


class ResolvedWeights(NamedTuple):
    """Trained weights.

    Attributes:
        path: the file or folder that the user named; it does not belong to a run's id.
        file: the file that holds the weights.
        sha256: SHA-256 of that file.
    """

    path: Path
    file: Path
    sha256: str


def resolve_weights(path: Path) -> ResolvedWeights:
    """Return the weights of a file, of a run's folder, or of a result folder of nnU-Net v2.

    Raises:
        UserError: when the file cannot be read.
        ModelError: when there is none.
    """
    file = find_weights(path)
    try:
        status = file.stat()
        return ResolvedWeights(path, file, _sha256(file, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise UserError(f"weights {file}: cannot be read ({error.strerror or error})") from error


@lru_cache(maxsize=64)
def _sha256(file: Path, _size: int, _changed: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
