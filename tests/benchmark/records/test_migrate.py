"""Upgrade of records of older schemas."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.migrate import migrate
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record, Summary

SUMMARY = {name: 0.5 if field.annotation is float else 1 for name, field in Summary.model_fields.items()}
SUMMARY |= {"vanished": {}, "training_joules": None}


def digest(content: object) -> str:
    """Return an id as all schemas form it: twelve digits of the SHA-256 of the content as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


@pytest.fixture
def write_schema_2(started: Callable[[Run], Record], tmp_path: Path) -> Callable[..., Path]:
    """Function that writes the record of a finished run as schema 2 had it; returns its folder."""

    def write(run: Run, sources: dict[str, str] | None = None) -> Path:
        record = started(run).stored() | {"schema": 2, "status": "finished", "files": {}}
        record["spec"]["sources"] = sources or {}
        record["spec"]["protocol"].pop("average_hausdorff", None)
        recipe = record["dataset"].pop("preprocessing")
        recipe["window"] = recipe.pop("clip_range")
        record["dataset"]["recipe"] = recipe
        record["summary"] = SUMMARY | {"source_epochs": 7}
        del record["summary"]["parent_epochs"]
        record["id"] = digest(record["spec"])
        folder = tmp_path / "runs" / run.dataset.name / run.spec.strategy / record["id"]
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return write


@pytest.fixture
def pocketnet_run(make_run: Callable[..., Run]) -> Run:
    """Run under PocketNet's protocol that builds on another run."""
    return make_run("prune_finetune", protocol="pocketnet", filters_per_step=8)


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return content


def test_schema_1_is_upgraded(
    finished_run: Path, stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """Schema 1 had no checksums of the network, no preprocessing of the dataset and no augmentation."""
    new_id, record = finished_run.name, read(finished_run)
    record["schema"] = 1
    files = record.pop("files")
    record["tables"] = {name: checksum for name, checksum in files.items() if not name.startswith("model/")}
    for key in ("patch", "fit", "window", "crop"):
        del record["spec"]["dataset"][key]
    del record["spec"]["protocol"]["augmentation"]
    del record["dataset"]["preprocessing"]
    record["summary"]["source_epochs"] = record["summary"].pop("parent_epochs")
    for key in ("kernels", "save_memory", "deterministic", "tf32"):
        del record["environment"][key]
    record["id"] = "old"
    (finished_run / "run.json").write_text(json.dumps(record))
    finished_run.rename(finished_run.with_name("old"))
    code, out, _ = stampbench("store", "check")
    assert (code, out.splitlines()[-1]) == (0, "1 old")
    assert "run 'stampbench store migrate' to upgrade it" in out.splitlines()[0]
    assert "warning: skipped" in stampbench("leaderboard")[2]
    assert "upgraded to schema 3" in stampbench("store", "migrate")[1]
    assert stampbench("store", "migrate")[1] == "nothing to upgrade\n"
    assert stampbench("store", "check")[:2] == (0, "1 finished\n")
    upgraded = read(finished_run.with_name(new_id))
    assert (upgraded["id"], upgraded["migrated_from"]) == (new_id, "old")
    assert stampbench("leaderboard")[0] == 0
    assert stampbench("publish", "--output", "tables")[0] == 0


def test_schema_2_is_upgraded_with_renamed_keys_and_the_same_id(
    make_run: Callable[..., Run], write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run("standard")
    folder = write_schema_2(run)
    before = read(folder)
    assert list(migrate(RunStore(tmp_path / "runs"))) == [f"{folder}: upgraded to schema 3"]
    after = read(folder)
    assert (after["schema"], after["id"], after["migrated_from"]) == (3, run.spec.id, run.spec.id)
    assert after["spec"] == before["spec"]
    recipe = before["dataset"]["recipe"]
    assert "recipe" not in after["dataset"]
    assert after["dataset"]["preprocessing"] == {
        "spatial_dims": recipe["spatial_dims"],
        "size": recipe["size"],
        "fit": recipe["fit"],
        "clip_range": recipe["window"],
        "crop": recipe["crop"],
    }
    assert "source_epochs" not in after["summary"]
    assert after["summary"]["parent_epochs"] == 7
    problems: list[str] = []
    records = [record for _, record in RunStore(tmp_path / "runs").records(problems)]
    assert (len(records), problems) == (1, [])


def test_clip_range_of_schema_2_is_kept(
    make_run: Callable[..., Run], write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_schema_2(make_run("standard"))
    record = read(folder)
    record["dataset"]["recipe"]["window"] = record["spec"]["dataset"]["window"] = [-160.0, 240.0]
    (folder / "run.json").write_text(json.dumps(record))
    store = RunStore(tmp_path / "runs")
    list(migrate(store))
    (upgraded,) = store.paths()
    assert read(upgraded.parent)["dataset"]["preprocessing"]["clip_range"] == [-160.0, 240.0]


def test_pocketnet_protocol_gets_average_hausdorff_and_children_follow_the_new_parent_id(
    pocketnet_run: Run, write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    parent = pocketnet_run.parents["converged"]
    old_parent = write_schema_2(parent)
    old_child = write_schema_2(pocketnet_run, {"converged": old_parent.name})
    store = RunStore(tmp_path / "runs")
    new_parent, new_child = store.folder(parent.spec), store.folder(pocketnet_run.spec)
    assert new_parent != old_parent
    assert new_child != old_child
    # Parents come first, although their folder is the last one in alphabetical order.
    assert list(migrate(store)) == [
        f"{old_parent}: upgraded to schema 3 as {new_parent}",
        f"{old_child}: upgraded to schema 3 as {new_child}",
    ]
    assert sorted(path.parent for path in store.paths()) == sorted([new_parent, new_child])
    for old, new, run in ((old_parent, new_parent, parent), (old_child, new_child, pocketnet_run)):
        content = read(new)
        assert content["spec"]["protocol"]["average_hausdorff"] is True
        assert content["id"] == new.name == run.spec.id == digest(content["spec"])
        assert content["group"] == run.spec.group
        assert content["migrated_from"] == old.name
    assert read(new_child)["spec"]["sources"] == {"converged": new_parent.name}
    assert list(migrate(store)) == []


def test_interrupted_move_is_completed_by_the_next_upgrade(
    pocketnet_run: Run, write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    parent, store = pocketnet_run.parents["converged"], RunStore(tmp_path / "runs")
    old, new = write_schema_2(parent), store.folder(parent.spec)
    list(migrate(store))
    new.rename(old)  # the record was written and its folder was not moved yet
    assert list(migrate(store)) == [f"{old}: upgraded to schema 3 as {new}"]
    assert [path.parent for path in store.paths()] == [new]
    assert list(migrate(store)) == []


def test_children_follow_the_new_parent_id_after_an_interruption(
    pocketnet_run: Run, write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    """The parent is upgraded by one call and its child by the next one."""
    parent, store = pocketnet_run.parents["converged"], RunStore(tmp_path / "runs")
    old_parent = write_schema_2(parent)
    list(migrate(store))
    write_schema_2(pocketnet_run, {"converged": old_parent.name})
    list(migrate(store))
    assert read(store.folder(pocketnet_run.spec))["spec"]["sources"] == {"converged": parent.spec.id}


def test_unfinished_newer_and_incomplete_records_are_not_upgraded(
    make_run: Callable[..., Run], write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    store, folder = RunStore(tmp_path / "runs"), write_schema_2(make_run("standard"))
    original = read(folder)
    incomplete = {key: value for key, value in original.items() if key != "summary"}
    for content, line in (
        (original | {"status": "failed"}, None),
        (original | {"schema": 99}, f"{folder / 'run.json'}: schema 99 cannot be upgraded"),
        (incomplete, f"{folder / 'run.json'}: incomplete record (KeyError); not upgraded"),
    ):
        text = json.dumps(content)
        (folder / "run.json").write_text(text)
        assert list(migrate(store)) == ([] if line is None else [line])
        assert (folder / "run.json").read_text() == text


def test_existing_target_folder_is_not_overwritten(
    pocketnet_run: Run, write_schema_2: Callable[..., Path], tmp_path: Path
) -> None:
    parent, store = pocketnet_run.parents["converged"], RunStore(tmp_path / "runs")
    old, new = write_schema_2(parent), store.folder(parent.spec)
    new.mkdir()
    text = (old / "run.json").read_text()
    assert list(migrate(store)) == [f"{old / 'run.json'}: not upgraded: {new} exists"]
    assert (old / "run.json").read_text() == text


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_store_that_cannot_be_written_is_an_error_and_unchanged(
    step: str, pocketnet_run: Run, write_schema_2: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = write_schema_2(pocketnet_run.parents["converged"])
    text = (folder / "run.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(*((os, step) if step == "fsync" else (Path, step)), full)
        with pytest.raises(UserError, match=r"^cannot write /.*: No space left on device$"):
            list(migrate(RunStore(tmp_path / "runs")))
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert ((folder / "run.json").read_text() == text) == (step == "fsync")
    list(migrate(RunStore(tmp_path / "runs")))
    assert not folder.exists()


def test_upgrade_that_is_killed_at_any_step_is_completed_by_the_next_one(
    pocketnet_run: Run, write_schema_2: Callable[..., Path], killed_before: Callable[..., bool], tmp_path: Path
) -> None:
    parent, store = pocketnet_run.parents["converged"], RunStore(tmp_path / "runs")
    number, killed = 0, True
    while killed:
        shutil.rmtree(store.root, ignore_errors=True)
        write_schema_2(pocketnet_run, {"converged": write_schema_2(parent).name})
        killed = killed_before(number, lambda: list(migrate(store)))
        list(migrate(store))
        assert {path.parent for path in store.paths()} == {store.folder(run.spec) for run in (parent, pocketnet_run)}
        assert read(store.folder(pocketnet_run.spec))["spec"]["sources"] == {"converged": parent.spec.id}
        number += 1
    assert number > 6


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["spec"]["dataset"].update(name="../../escaped"),
        lambda record: record["spec"].update(strategy="../../../escaped"),
        lambda record: record["spec"].update(strategy="/escaped"),
        lambda record: record.update(id="../../escaped"),
        lambda record: record["spec"].update(sources=[]),
        lambda record: record["spec"].update(sources={"converged": "../../escaped"}),
        lambda record: record.update(spec=7),
        lambda record: record.update(schema=[]),
        lambda record: record.update(summary={"test_dice": 2.0}),
        lambda record: record.update(schema=3, migrated_from="x"),
    ],
)
@pytest.mark.parametrize("schema", [2, 3])
def test_upgrade_of_a_hostile_record_is_a_line_and_stays_in_the_store(
    change: Callable[[dict[str, Any]], None], schema: int, write_schema_2: Callable[..., Path],
    make_run: Callable[..., Run], tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "outer").mkdir()
    folder, store = write_schema_2(make_run("standard")), RunStore(tmp_path / "outer" / "runs")
    (tmp_path / "runs").rename(store.root)
    folder = store.root / folder.relative_to(tmp_path / "runs")
    record = read(folder)
    if schema == 3:
        list(migrate(store))
        record = read(folder) | {"migrated_from": "old"}
    change(record)
    folder = folder.rename(folder.with_name("old"))
    (folder / "run.json").write_text(json.dumps(record))
    lines = list(migrate(store))
    assert len(lines) <= 1
    assert [path.name for path in (tmp_path / "outer").iterdir()] == ["runs"]
    assert not Path("/escaped").exists()
    assert len(list(store.root.rglob("run.json"))) == 1
