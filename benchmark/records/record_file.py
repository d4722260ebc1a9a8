"""One `run.json`: reading, writing, and comparing its checksums with the files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stampbench.benchmark.config.validated import explain
from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.environment.bounded_json import read_json
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.schema import SCHEMA, Record
from stampbench.datasets.atomic_file import write_text

RECORD = "run.json"
MOST_BYTES = {
    RECORD: 1 << 20,
    "trajectory.csv": 1 << 26,
    "epochs.csv": 1 << 26,
    "pruned.csv": 1 << 24,
    "cases.csv": 1 << 26,
    "latency.csv": 1 << 20,
    "model/architecture.json": 1 << 20,
    "model/weights.safetensors": 1 << 31,
}
"""Largest accepted size of each file of a run, in bytes."""


def read_content(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a `run.json`, or None if the file is missing or is not one."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def schema_of(content: dict[str, Any]) -> int | None:
    """Return the schema of a `run.json`, or None if it is not a number."""
    schema = content.get("schema")
    return schema if type(schema) is int else None


def read_record(path: Path) -> Record:
    """Read a `run.json` of the present schema, whatever its status.

    Raises:
        UserError: when it cannot be read, has another schema, or is incomplete.
    """
    return parse_record(path, read_content(path))


def parse_record(path: Path, content: dict[str, Any] | None) -> Record:
    """Validate what `read_content` has returned; errors are those of `read_record`."""
    if content is None:
        raise UserError(f"{path}: not a record; it may be truncated")
    schema = schema_of(content)
    if schema != SCHEMA:
        older = schema in range(1, SCHEMA)
        remedy = "; run 'stampbench store migrate' to upgrade it" if older else ""
        found = str(content.get("schema"))[:40]
        raise UserError(f"{path}: has schema {found}, this version reads {SCHEMA}{remedy}")
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "missing":
            raise UserError(f"{path}: incomplete record: missing {'.'.join(map(str, first['loc']))}") from None
        field, problem = explain(error)
        raise UserError(f"{path}: {field[:200]}{problem}") from None
    if record.status == "finished" and record.summary is None:
        raise UserError(f"{path}: incomplete record: missing summary")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write `run.json` atomically.

    Raises:
        OSError: when it cannot be written.
    """
    write_text(folder / RECORD, json.dumps(record.stored(), indent=1) + "\n")


def model_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 by name of the files of a run's network.

    Raises:
        OSError: when a file cannot be read.
    """
    names = [f"model/{path.name}" for path in sorted((folder / "model").iterdir())]
    return {name: _checksum(folder, name) for name in names if name in MOST_BYTES}


def find_damage(folder: Path, record: Record, files: Collection[str] | None = None) -> str | None:
    """Return the first problem of a record's files, or None.

    Args:
        folder: folder of the run.
        record: its record.
        files: names of the files to verify; None: all.
    """
    for name, checksum in record.files.items():
        if files is not None and name not in files:
            continue
        try:
            found = _checksum(folder, name)
        except OSError as error:
            return f"{folder / name}: {error.strerror or error}"
        if found != checksum:
            return f"{folder / name}: checksum mismatch"
    return None


def _checksum(folder: Path, name: str) -> str:
    return hashlib.sha256(read_bounded(folder / name, MOST_BYTES[name], follow=False)).hexdigest()
