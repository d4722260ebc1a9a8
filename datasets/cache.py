"""Cache of prepared cases, keyed by content and preprocessing, and of file checksums."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stampbench.datasets.dataset_json import Case
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers import CaseReader
from stampbench.datasets.threads import in_threads

_VERSION = 2
"""Raise it when preparation changes: cached arrays of the old kind are then left alone."""


def cache_folder() -> Path:
    """Where prepared cases are kept: STAMPBENCH_CACHE, or the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("STAMPBENCH_CACHE") or user_cache_path("stampbench"))


def find_case(case: Case, preprocessing: PreprocessingConfig, identity: tuple[str, ...], cache: Path) -> PreparedCase:
    """Where a case is, or will be, prepared.

    The folder is keyed by identity (version, content, coding of labels) and preprocessing.
    """
    key = json.dumps([_VERSION, *identity, preprocessing.model_dump()])
    folder = cache / f"{case.id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return PreparedCase(case.id, case.subject, preprocessing, folder)


def prepare_case(reader: CaseReader, case: Case, prepared: PreparedCase) -> None:
    """Prepare a case, unless it is prepared.

    Raises:
        DatasetError: it cannot be read or used, or not be written.
    """
    if prepared.folder.is_dir():
        return
    from stampbench.datasets.preprocessing import preprocess  # imports MONAI, which takes seconds

    try:
        arrays = preprocess(reader.read(case), prepared.preprocessing)
    except DatasetError as error:
        raise DatasetError(f"case '{case.id}': {error}") from error
    _write(prepared.folder, arrays._asdict())


def checksums(
    reader: CaseReader, cache: Path, largest: int, report: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, str]:
    """Per case id the SHA-256 of its files; what has kept its size and time of change is not read again.

    Args:
        largest: bytes of the largest case.
        report: hears of every case that is read.
    """
    index = cache / "checksums.json"
    known = _read_index(index)
    found = {case.id: {"files": [_stamp(path) for path in reader.files(case)]} for case in reader.cases}
    # What is generated has no files, and costs nothing.
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
