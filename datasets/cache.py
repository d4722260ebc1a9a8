"""Prepared cases on disk: plain arrays, mapped into memory when they are looked at."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.dataset_json import Case
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preprocessing_config import Recipe
from stampbench.datasets.readers import Source
from stampbench.datasets.threads import in_threads

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
        path = self.folder / f"{name}.npy"
        try:
            array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[type-arg]
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path}: is damaged ({error}); delete {self.folder} to prepare it anew") from error
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
    from stampbench.datasets.preprocessing import prepare  # imports MONAI, which takes seconds

    try:
        arrays = prepare(source.read(case), prepared.recipe)
    except DatasetError as error:
        raise DatasetError(f"case '{case.id}': {error}") from error
    _write(prepared.folder, arrays._asdict())


def checksums(
    source: Source, cache: Path, largest: int, report: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, str]:
    """Per case id the SHA-256 of its files; what has kept its size and time of change is not read again.

    Args:
        largest: bytes of the largest case.
        report: hears of every case that is read.
    """
    index = cache / "checksums.json"
    known = _read_index(index)
    found = {case.id: {"files": [_stamp(path) for path in source.files(case)]} for case in source.cases}
    # What is generated has no files, and costs nothing.
    stale = [
        case
        for case in source.cases
        if not found[case.id]["files"] or known.get(case.id, {}).get("files") != found[case.id]["files"]
    ]
    fresh = dict(zip((case.id for case in stale), in_threads(source.checksum, stale, largest, report), strict=True))
    result = {case.id: fresh.get(case.id) or known[case.id]["checksum"] for case in source.cases}
    if fresh:
        _write_index(index, {id: found[id] | {"checksum": result[id]} for id in result})
    return result


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """What is known of checksums; nothing, where there is no index or a damaged one."""
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text())
        if isinstance(known, dict):
            return {
                id: each for id, each in known.items() if isinstance(each, dict) and {"files", "checksum"} <= set(each)
            }
    return {}


def _stamp(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    return [str(path.resolve()), found.st_size, found.st_mtime_ns]


def _write_index(path: Path, content: Mapping[str, object]) -> None:
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(content))
        unfinished.replace(path)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error


def _write(folder: Path, arrays: Mapping[str, object]) -> None:
    """Write the arrays beside `folder` and rename, so that two processes never see half a case."""
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        unfinished.mkdir(parents=True)
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
        shutil.rmtree(unfinished, ignore_errors=True)
