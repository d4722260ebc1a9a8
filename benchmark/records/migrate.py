"""Upgrade of records of older schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.folder_lock import folder_lock
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.record_file import model_checksums, parse_record, read_content, schema_of
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import SCHEMA
from stampbench.datasets.atomic_file import sync_folder, write_text


def migrate(store: RunStore) -> Iterator[str]:
    """Upgrade the finished records of older schemas; yield a line for each.

    A run's id is a hash of its spec, so a changed spec gives a new id and another folder, and runs that build on it
    get new ids too; the old id stays in the record. Other files are not touched. An interrupted upgrade is completed
    by the next one, and two of them take turns.

    Raises:
        UserError: when a record cannot be written.
    """
    with folder_lock(store.root):
        yield from _migrate(store)


def _migrate(store: RunStore) -> Iterator[str]:
    outdated: dict[str, tuple[Path, dict[str, Any]]] = {}
    renamed: dict[str, str] = {}
    for path in store.paths():
        record = read_content(path)
        if record is None or record.get("status") != "finished":
            continue
        schema = schema_of(record)
        if schema == SCHEMA:
            before, id = record.get("migrated_from"), record.get("id")
            if before is not None:  # an earlier upgrade may have stopped before the runs that build on this one
                renamed[str(before)] = str(id)
            if before == path.parent.name != id:
                yield _step(partial(_move, store, path, record), path)
        elif schema not in STEPS:
            yield f"{path}: schema {str(record.get('schema'))[:40]} cannot be upgraded"
        else:
            outdated[str(record.get("id"))] = (path, record)
    while outdated:
        # Parents come first, so that their new ids are known.
        id = next((each for each, (_, record) in outdated.items() if not _parents(record) & set(outdated)), None)
        path, record = outdated.pop(id if id is not None else next(iter(outdated)))
        yield _step(partial(_upgrade, store, path, record, renamed), path)


def _step(upgrade: Callable[[], str], path: Path) -> str:
    """Return the line of one upgrade; a record that is not valid stays as it is."""
    try:
        return upgrade()
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return f"{path}: incomplete record ({type(error).__name__}); not upgraded"


def _parents(record: dict[str, Any]) -> set[str]:
    """Return the ids of a run's parent runs; none if the record is not valid, which its upgrade reports."""
    spec = record.get("spec")
    parents = spec.get("sources") if isinstance(spec, dict) else None
    return {str(each) for each in parents.values()} if isinstance(parents, dict) else set()


def _upgrade(store: RunStore, path: Path, record: dict[str, Any], renamed: dict[str, str]) -> str:
    before = record["id"]
    try:
        while record["schema"] in STEPS:
            record = STEPS[record["schema"]](path.parent, record)
    except OSError as error:
        return f"{path}: not upgraded: {error.filename}: {error.strerror or error}"
    sources = {name: renamed.get(id, id) for name, id in record["spec"].get("sources", {}).items()}
    spec = RunSpec.model_validate(record["spec"] | {"sources": sources})
    record |= {"spec": spec.stored(), "id": spec.id, "group": spec.group, "migrated_from": before}
    target = store.folder(spec)
    if target != path.parent and target.exists():
        return f"{path}: not upgraded: {target} exists"
    try:
        parse_record(path, record)
    except UserError as error:
        return f"{error}; not upgraded"
    renamed[before] = spec.id
    try:
        write_text(path, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return _move(store, path, record)


def _move(store: RunStore, path: Path, record: dict[str, Any]) -> str:
    """Move an upgraded record to the folder of its id."""
    target = store.folder(RunSpec.model_validate(record["spec"]))
    if target == path.parent:
        return f"{path.parent}: upgraded to schema {SCHEMA}"
    if target.exists():
        return f"{path}: not upgraded: {target} exists"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.parent.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    sync_folder(target.parent)
    return f"{path.parent}: upgraded to schema {SCHEMA} as {target}"


def _from_1(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Add checksums of the network, the form in which networks see a dataset, and augmentation."""
    spec = record["spec"]
    dataset = {"patch": None, "fit": "pad", "window": None, "crop": None} | spec["dataset"]
    protocol = {"augmentation": "none"} | spec["protocol"]
    recipe = {key: dataset[key] for key in ("spatial_dims", "size", "fit", "window", "crop")}
    described = {"recipe": recipe, "values": list(range(len(record["dataset"]["classes"])))} | record["dataset"]
    upgraded = record | {
        "schema": 2,
        "spec": spec | {"dataset": dataset, "protocol": protocol},
        "dataset": described,
        "files": record["tables"] | model_checksums(folder),
    }
    del upgraded["tables"]
    return upgraded


def _from_2(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Rename keys after the glossary, and let the protocol say whether PocketNet's distance is scored."""
    spec, dataset, summary = dict(record["spec"]), dict(record["dataset"]), dict(record["summary"])
    if spec["protocol"]["name"] == "pocketnet":
        spec["protocol"] = spec["protocol"] | {"average_hausdorff": True}
    preprocessing = dict(dataset.pop("recipe"))
    preprocessing["clip_range"] = preprocessing.pop("window", None)
    dataset["preprocessing"] = preprocessing
    summary["parent_epochs"] = summary.pop("source_epochs", 0)
    return record | {"schema": 3, "spec": spec, "dataset": dataset, "summary": summary}


STEPS: dict[int, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
"""The upgrade from each older schema to the next one."""
