"""Verification of all records of a store: readable, intact, and true to their specifications."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.lease import LeaseWatch
from stampbench.benchmark.records.migrate import STEPS
from stampbench.benchmark.records.record_file import RECORD, find_damage, parse_record, read_content, schema_of
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import read_cases, read_table
from stampbench.benchmark.records.schema import Record
from stampbench.models.errors import ModelError
from stampbench.models.model import parameter_count


class RecordStatus(NamedTuple):
    """The verified status of a run, its folder, and a line about it; damaged runs are never counted."""

    state: Literal["finished", "running", "interrupted", "failed", "old", "damaged"]
    folder: Path
    text: str


def verify_store(store: RunStore) -> Iterator[RecordStatus]:
    """Verify every run: schema, id, group, checksums of all files, scores, and that the network is the recorded one."""
    watch = LeaseWatch()
    for path in store.paths():
        folder, content = path.parent, read_content(path)
        if content is None:
            yield RecordStatus("damaged", folder, f"{path}: not a record; it may be truncated")
            continue
        status = content.get("status")
        if (schema := schema_of(content)) in STEPS:
            text = f"has schema {schema}; run 'stampbench store migrate' to upgrade it"
            yield RecordStatus("old", folder, text)
        elif status == "failed":
            yield RecordStatus("failed", folder, str(content.get("reason")))
        elif status == "running":
            yield _unfinished(watch, folder)
        elif status == "finished":
            problem = _problem(store, path, content)
            yield RecordStatus("damaged", folder, problem) if problem else RecordStatus("finished", folder, "")
        else:
            yield RecordStatus("damaged", folder, f"{path}: has the status {status!r}")


def _unfinished(watch: LeaseWatch, folder: Path) -> RecordStatus:
    leases = folder.with_name(f".{folder.name}.leases")
    state = watch.state(leases)
    if state is None or watch.free(leases):
        return RecordStatus("interrupted", folder, "no active process; run the same command to resume")
    return RecordStatus("running", folder, f"leased by {state.owner}, or was until less than a minute ago")


def _problem(store: RunStore, path: Path, content: dict[str, Any]) -> str | None:
    try:
        record = parse_record(path, content)
    except UserError as error:
        return str(error)
    return find_damage(path.parent, record) or _contradiction(store, path.parent, record)


def _contradiction(store: RunStore, folder: Path, record: Record) -> str | None:
    """Return what a record claims and does not hold, or None."""
    if folder != store.folder(record.spec):
        return f"{folder / RECORD}: belongs in {store.folder(record.spec)}"
    try:
        read_cases(folder, record)
        read_table(folder, record, "trajectory.csv")
        model, _ = store.model(str(folder))
    except (UserError, ModelError) as error:
        return str(error)
    except (MemoryError, RuntimeError) as error:  # of PyTorch, for a network that is too large
        return f"{folder / 'model'}: cannot be loaded ({' '.join(str(error).split())[:200]})"
    recorded, found = record.results.parameters, parameter_count(model.architecture)
    if recorded != found:
        return f"{folder / RECORD}: has {recorded} parameters, but its network {found}"
    return None
