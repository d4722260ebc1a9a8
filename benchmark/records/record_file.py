"""One `run.json`: reading, writing, and comparing its checksums with the files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stampbench.benchmark.config.validated import explain
from stampbench.benchmark.environment.atomic_file import write_text
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.schema import SCHEMA, Record

RECORD = "run.json"


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or None if the file is missing or is not one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_record(path: Path) -> Record:
    """Read a `run.json` of the present schema, whatever its status.

    Raises:
        UserError: when it cannot be read, has another schema, or is incomplete.
    """
    content = read_json(path)
    if content is None:
        raise UserError(f"{path}: not a record; it may be truncated")
    return parse_record(path, content)


def parse_record(path: Path, content: dict[str, Any]) -> Record:
    """Validate the content of a `run.json`; errors are those of `read_record`."""
    schema = content.get("schema")
    if schema != SCHEMA:
        older = schema in range(1, SCHEMA)
        remedy = "; run 'stampbench store migrate' to upgrade it" if older else ""
        raise UserError(f"{path}: has schema {schema}, this version reads {SCHEMA}{remedy}")
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
    """Return the SHA-256 by name of the files of a run's network."""
    return {
        f"model/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "model").iterdir())
    }


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
            content = (folder / name).read_bytes()
        except OSError as error:
            return f"{folder / name}: {error.strerror or error}"
        if hashlib.sha256(content).hexdigest() != checksum:
            return f"{folder / name}: checksum mismatch"
    return None
