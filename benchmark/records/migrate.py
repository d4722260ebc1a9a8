"""Upgrade of records of older schemas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.atomic_file import write_text
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.record_file import model_checksums, read_json
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import SCHEMA


def migrate(store: RunStore) -> Iterator[str]:
    """Upgrade the finished records of older schemas; yield a line for each.

    A run's id is a hash of its spec, so a changed spec gives a new id and another folder, and runs that build on it
    get new ids too; the old id stays in the record. Other files are not touched. An interrupted upgrade is completed
    by the next one.

    Raises:
        UserError: when a record cannot be written.
    """
    outdated: dict[str, tuple[Path, dict[str, Any]]] = {}
    renamed: dict[str, str] = {}
    for path in store.paths():
        record = read_json(path)
        if record is None or record.get("status") != "finished":
            continue
        if record.get("schema") == SCHEMA:
            if "migrated_from" in record:  # an earlier upgrade may have stopped before the runs that build on this one
                renamed[str(record["migrated_from"])] = str(record["id"])
            if record.get("migrated_from") == path.parent.name != record.get("id"):
                yield from _move(store, path, record)
        elif record.get("schema") not in STEPS:
            yield f"{path}: schema {record.get('schema')} cannot be upgraded"
        else:
            outdated[str(record["id"])] = (path, record)
    while outdated:
        # Parents come first, so that their new ids are known.
        id = next((each for each, (_, record) in outdated.items() if not _parents(record) & set(outdated)), None)
        path, record = outdated.pop(id if id is not None else next(iter(outdated)))
        try:
            yield from _upgrade(store, path, record, renamed)
        except (KeyError, TypeError, ValidationError) as error:
            yield f"{path}: incomplete record ({type(error).__name__}); not upgraded"
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _parents(record: dict[str, Any]) -> set[str]:
    return set(record["spec"].get("sources", {}).values())


def _upgrade(store: RunStore, path: Path, record: dict[str, Any], renamed: dict[str, str]) -> Iterator[str]:
    before = record["id"]
    while record["schema"] in STEPS:
        record = STEPS[record["schema"]](path.parent, record)
    sources = {name: renamed.get(id, id) for name, id in record["spec"].get("sources", {}).items()}
    spec = RunSpec.model_validate(record["spec"] | {"sources": sources})
    record |= {"spec": spec.stored(), "id": spec.id, "group": spec.group, "migrated_from": before}
    target = store.folder(spec)
    if not target.resolve().is_relative_to(store.root.resolve()):
        yield f"{path}: not upgraded: its dataset or strategy is not the name of a folder"
    elif target != path.parent and target.exists():
        yield f"{path}: not upgraded: {target} exists"
    else:
        renamed[before] = spec.id
        write_text(path, json.dumps(record, indent=1) + "\n")
        yield from _move(store, path, record)


def _move(store: RunStore, path: Path, record: dict[str, Any]) -> Iterator[str]:
    """Move an upgraded record to the folder of its id."""
    target = store.folder(RunSpec.model_validate(record["spec"]))
    if target != path.parent:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.parent.rename(target)
        yield f"{path.parent}: upgraded to schema {SCHEMA} as {target}"
    else:
        yield f"{path.parent}: upgraded to schema {SCHEMA}"


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
