"""Prepared cases on disk: plain arrays, mapped into memory when they are looked at."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.folder import Case
from stampbench.datasets.recipe import Recipe
from stampbench.datasets.source import Source

_VERSION = 2
"""Raise it when preparation changes: cached arrays of the old kind are then left alone."""


@dataclass(frozen=True)
class PreparedCase:
    """One case as a network sees it, and as it is scored.

    Arrays are mapped anew at every look, so that a case costs memory only while it is in use.
    """

    id: str
    subject: str
    recipe: Recipe
    folder: Path

    @property
    def images(self) -> NDArray[np.float32]:
        """`(n, channels, *size)`; n is 1, or the number of slices where a volume is cut into slices."""
        return self._map("images")

    @property
    def labels(self) -> NDArray[np.uint8]:
        """`(n, *size)` class indices."""
        return self._map("labels")

    @property
    def reference(self) -> NDArray[np.uint8]:
        """The label map in the case's own grid, oriented to RAS, neither padded nor cropped nor resized."""
        return self._map("reference")

    @property
    def spacing(self) -> tuple[float, ...]:
        """Of the reference, per axis in the dataset's unit."""
        return tuple(json.loads((self.folder / "spacing.json").read_text()))

    def _map(self, name: str) -> NDArray:  # type: ignore[type-arg]
        array: NDArray = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)  # type: ignore[type-arg]
        return array


def cache_folder() -> Path:
    """Where prepared cases are kept: STAMPBENCH_CACHE, or the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("STAMPBENCH_CACHE") or user_cache_path("stampbench"))


def find_case(case: Case, recipe: Recipe, identity: tuple[str, ...], cache: Path) -> PreparedCase:
    """Where a case is, or will be, prepared; keyed by its identity (version, content, coding of labels) and recipe."""
    key = json.dumps([_VERSION, *identity, recipe.model_dump()])
    folder = cache / f"{case.id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return PreparedCase(case.id, case.subject, recipe, folder)


def prepare_case(source: Source, case: Case, prepared: PreparedCase) -> None:
    """Prepare a case, unless it is prepared.

    Raises:
        DatasetError: it cannot be read or used, or not be written.
    """
    if prepared.folder.is_dir():
        return
    from stampbench.datasets.prepare import prepare  # imports MONAI, which takes seconds

    try:
        arrays = prepare(source.read(case), prepared.recipe)
    except DatasetError as error:
        raise DatasetError(f"case '{case.id}': {error}") from error
    _write(prepared.folder, arrays._asdict())


def checksums(source: Source, cache: Path) -> dict[str, str]:
    """Per case id the SHA-256 of its files; what has kept its size and time of change is not read again."""
    index, known = cache / "checksums.json", dict[str, Any]()
    with suppress(OSError, ValueError):  # none yet, or a damaged one: everything is read
        known = json.loads(index.read_text())
    found = dict[str, Any]()
    for case in source.cases:
        stamps = [_stamp(path) for path in source.files(case)]
        before = known.get(case.id)
        fresh = before is None or not stamps or before["files"] != stamps  # what is generated has no files
        found[case.id] = {"files": stamps, "checksum": source.checksum(case)} if fresh else before
    if found != known:
        _write_index(index, found)
    return {id: each["checksum"] for id, each in found.items()}


def _stamp(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def _write_index(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", prefix=".checksums-", dir=path.parent, delete=False) as file:
            json.dump(content, file)
        Path(file.name).replace(path)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error


def _write(folder: Path, arrays: Mapping[str, object]) -> None:
    """Write the arrays beside `folder` and rename, so that two processes never see half a case."""
    unfinished = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for name, content in arrays.items():
            if isinstance(content, np.ndarray):
                np.save(unfinished / f"{name}.npy", content, allow_pickle=False)
            else:
                (unfinished / f"{name}.json").write_text(json.dumps(content))
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    except OSError as error:
        raise DatasetError(f"cannot write prepared cases to {folder.parent}: {error.strerror or error}") from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
