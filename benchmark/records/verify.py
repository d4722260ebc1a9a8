"""A store looked through and lifted to the present schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.lease import LeaseWatch
from stampbench.benchmark.records.run_store import (
    RECORD,
    SCHEMA,
    RunStore,
    damage,
    model_checksums,
    read_record,
    write_text,
)
from stampbench.models.errors import ModelError
from stampbench.models.network import parameter_count


class RecordStatus(NamedTuple):
    """A run in the store, and what is to be said of it; `damaged` ones are never counted."""

    state: Literal["finished", "running", "begun", "failed", "old", "damaged"]
    folder: Path
    text: str


def verify_store(store: RunStore) -> Iterator[RecordStatus]:
    """Every run: schema, id, group, checksums of all files, and that the network is the one that was recorded."""
    watch = LeaseWatch()
    for path in store.paths():
        folder, record = path.parent, read_record(path)
        if record is None:
            yield RecordStatus("damaged", folder, f"{path}: is no record; it may be truncated")
            continue
        status = record.get("status")
        if record.get("schema") in _STEPS:
            yield RecordStatus("old", folder, f"has schema {record['schema']}; 'stampbench store migrate' lifts it")
        elif status == "failed":
            yield RecordStatus("failed", folder, str(record.get("reason")))
        elif status == "running":
            yield _unfinished(store, watch, folder, record)
        elif status == "finished":
            problem = damage(folder, record) or _contradiction(store, folder, record)
            yield RecordStatus("damaged", folder, problem) if problem else RecordStatus("finished", folder, "")
        else:
            yield RecordStatus("damaged", folder, f"{path}: has the status {status!r}")


def migrate(store: RunStore) -> Iterator[str]:
    """Lift records of older schemas; yields a line for each.

    A run's id is a hash of its spec, so a spec with new keys brings a new id and another folder; the old id stays in
    the record. Files are not touched.
    """
    for path in store.paths():
        record = read_record(path)
        if record is None or record.get("schema") == SCHEMA or record.get("status") != "finished":
            continue
        if record.get("schema") not in _STEPS:
            yield f"{path}: schema {record.get('schema')} cannot be lifted"
            continue
        before = record["id"]
        while record["schema"] in _STEPS:
            record = _STEPS[record["schema"]](path.parent, record)
        spec = RunSpec.model_validate(record["spec"])
        record |= {"id": spec.id, "group": spec.group, "migrated_from": before}
        target = store.folder(spec)
        if target != path.parent and target.exists():
            yield f"{path}: is left, since {target} is there already"
            continue
        write_text(path, json.dumps(record, indent=1) + "\n")
        if target != path.parent:
            target.parent.mkdir(parents=True, exist_ok=True)
            path.parent.rename(target)
        yield f"{path.parent}: lifted to schema {SCHEMA} as {target}"


def _unfinished(store: RunStore, watch: LeaseWatch, folder: Path, record: dict[str, Any]) -> RecordStatus:
    leases = folder.with_name(f".{record.get('id')}.leases")
    holder = watch.holder(leases)
    if holder is None or watch.free(leases):
        return RecordStatus("begun", folder, "nobody is at work on it; the command that began it goes on")
    return RecordStatus("running", folder, f"{holder.owner} is at work on it, or was until less than a minute ago")


def _contradiction(store: RunStore, folder: Path, record: dict[str, Any]) -> str | None:
    """What a record says of itself that is not so."""
    try:
        spec = RunSpec.model_validate(record["spec"])
    except ValidationError as error:
        return f"{folder / RECORD}: its spec is not valid ({error.error_count()} faults)"
    if not spec.id == record["id"] == folder.name:
        return f"{folder / RECORD}: is run {record['id']}, but its spec makes {spec.id}"
    if spec.group != record["group"]:
        return f"{folder / RECORD}: is of group {record['group']}, but its spec makes {spec.group}"
    try:
        model, _ = store.model(str(folder))
    except (UserError, ModelError) as error:
        return str(error)
    recorded, found = record["summary"]["parameters"], parameter_count(model.architecture)
    if recorded != found:
        return f"{folder / RECORD}: has {recorded} parameters, but its network {found}"
    return None


def _from_1(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Checksums of the network; the form in which a dataset is seen; augmentation."""
    spec = record["spec"]
    dataset = {"patch": None, "fit": "pad", "window": None, "crop": None} | spec["dataset"]
    protocol = {"augmentation": "none"} | spec["protocol"]
    recipe = {key: dataset[key] for key in ("spatial_dims", "size", "fit", "window", "crop")}
    described = {"recipe": recipe, "values": list(range(len(record["dataset"]["classes"])))} | record["dataset"]
    lifted = record | {
        "schema": 2,
        "spec": spec | {"dataset": dataset, "protocol": protocol},
        "dataset": described,
        "files": record["tables"] | model_checksums(folder),
    }
    del lifted["tables"]
    return lifted


_STEPS = {1: _from_1}
