"""On-disk cache of prepared cases and of file checksums."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stampbench.datasets.atomic_file import new_folder, write_text
from stampbench.datasets.dataset_json import Case
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.preparation.threads import in_threads
from stampbench.datasets.readers.reader import CaseReader

_VERSION = 3
"""Version of the preprocessing code; increase it when the prepared arrays change, so that old ones are not used."""


def cache_folder() -> Path:
    """Return the folder of prepared cases: STAMPBENCH_CACHE, or the user's cache folder if that is not set."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("STAMPBENCH_CACHE") or user_cache_path("stampbench"))


def find_case(case: Case, preprocessing: PreprocessingConfig, identity: tuple[str, ...], cache: Path) -> PreparedCase:
    """Return the location of a prepared case, whether or not it has been prepared yet.

    Args:
        case: The case to locate.
        preprocessing: How the case is prepared; part of the cache key.
        identity: The rest of the cache key: dataset version, checksum of the files, mapping of label values.
        cache: The dataset's folder in the cache.
    """
    key = json.dumps([_VERSION, *identity, preprocessing.model_dump()])
    folder = cache / f"{case.id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return PreparedCase(case.id, case.subject, preprocessing, folder)


def prepare_case(reader: CaseReader, case: Case, prepared: PreparedCase) -> None:
    """Prepare a case and write it to the cache; do nothing if it is already there.

    Raises:
        DatasetError: when the case cannot be read or used, or the cache cannot be written.
    """
    if prepared.folder.is_dir():
        return
    # Importing MONAI takes seconds, which a call that finds every case in the cache does not have to spend.
    from stampbench.datasets.preparation.duplicates import image_digest
    from stampbench.datasets.preparation.preprocessing import preprocess

    try:
        raw = reader.read(case)
        arrays = preprocess(raw, prepared.preprocessing)
    except DatasetError as error:
        raise DatasetError(f"case '{case.id}': {error}", setting=error.setting) from error
    _write_arrays(prepared.folder, arrays._asdict() | {"digest": image_digest(raw)})


def checksums(
    reader: CaseReader, cache: Path, largest: int, report: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, str]:
    """Return the SHA-256 checksum of the files of every case, by case id.

    Files whose size and modification time have not changed since the last call are not read again.

    Args:
        reader: Reader of the dataset's cases.
        cache: The dataset's folder in the cache, which holds the index of known checksums.
        largest: Size of the largest case in bytes; limits how many cases are read at a time.
        report: Called with the number of cases read so far and the number of cases to read, after each case.

    Raises:
        DatasetError: when a file is missing or cannot be read, or the index cannot be written.
    """
    index = cache / "checksums.json"
    known = _read_index(index)
    found = {case.id: {"files": [_file_signature(path) for path in reader.files(case)]} for case in reader.cases}
    # Synthetic cases have no files to compare, and their checksums are cheap to compute.
    stale = [
        case
        for case in reader.cases
        if not found[case.id]["files"] or known.get(case.id, {}).get("files") != found[case.id]["files"]
    ]
    fresh = dict(zip((case.id for case in stale), in_threads(reader.checksum, stale, largest, report), strict=True))
    result = {case.id: fresh.get(case.id) or known[case.id]["checksum"] for case in reader.cases}
    if fresh:
        _write_index(index, {id: found[id] | {"checksum": result[id]} for id in result})
    return result


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """Return the valid entries of the index of checksums; none if the index is missing or damaged."""
    with suppress(OSError, ValueError):
        known = json.loads(path.read_text())
        if isinstance(known, dict):
            return {
                id: entry
                for id, entry in known.items()
                if isinstance(entry, dict) and {"files", "checksum"} <= set(entry)
            }
    return {}


def _file_signature(path: Path) -> list[str | int]:
    """Return path, size and modification time, which together tell whether a file has changed."""
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _write_index(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content))
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error


def _write_arrays(folder: Path, arrays: Mapping[str, object]) -> None:
    """Write the arrays to a new folder, so that no other process sees an incomplete case."""
    try:
        with new_folder(folder) as temporary:
            for name, content in arrays.items():
                if isinstance(content, np.ndarray):
                    np.save(temporary / f"{name}.npy", content, allow_pickle=False)
                else:
                    (temporary / f"{name}.json").write_text(json.dumps(content))
    except OSError as error:
        # If the folder exists now, another process has prepared the same case in the meantime.
        if not folder.is_dir():
            raise DatasetError(f"cannot write prepared cases to {folder.parent}: {error.strerror or error}") from error
