"""Records of strangers: each damaged one is a line, and the others are read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.tables import read_records
from stampbench.benchmark.records.verify import verify_store

Command = Callable[..., tuple[int, str, str]]
Change = Callable[[dict[str, Any]], object]


def set_at(path: str, value: object) -> Change:
    """Return a function that sets one key of a record."""

    def change(record: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            record = record[key]
        record[last] = value

    return change


IMPOSSIBLE: list[Change] = [
    *(set_at(f"summary.{key}", value) for key in ("test_dice", "test_nsd", "validation_dice") for value in (-0.5, 1.5)),
    *(set_at(f"summary.{key}", -3) for key in ("test_hd95", "test_hausdorff", "test_msd", "parameters", "epochs")),
    set_at("summary.test_hd95", 1e12), set_at("summary.test_dice", "text"), set_at("summary.macs", 2**60),
    set_at("summary.training_seconds", -1), set_at("summary.test_dice", "inf"), set_at("summary.test_dice", "nan"),
    set_at("id", "../../../evil"), set_at("id", "0" * 12), set_at("id", []), set_at("group", "0" * 12),
    set_at("files", 1), set_at("files", {"/dev/zero": "0" * 64}), set_at("files", {"../run.json": "0" * 64}),
    set_at("files", {"cases.csv": 7}), set_at("schema", []), set_at("schema", {}), set_at("schema", True),
    set_at("spec.dataset.name", "../.."), set_at("spec.dataset.name", "a/b"), set_at("spec.strategy", "a\nb"),
    set_at("spec.dataset.size", [0, 16]), set_at("spec.dataset.size", [10**6, 10**6]), set_at("spec.fold", -1),
    set_at("spec.dataset.size", [16]), set_at("spec.dataset.spatial_dims", 4), set_at("spec.n_train", "many"),
    set_at("spec.protocol.folds", 10**9), set_at("spec.sources", {"a": "../../evil"}),
    set_at("spec.dataset.patch", [0, 0]),
    set_at("dataset.values", [0]), set_at("dataset.classes", []), set_at("dataset.preprocessing.size", [8, 8]),
    set_at("dataset.preprocessing.fit", "resize"), set_at("environment", []), set_at("provenance.packages", 3),
]  # fmt: skip

TEXTS = [
    b"[" * 100_000, b"", b"7", b"[]", b"null", b"{" * 5000, b'{"a": ' * 50_000, b"\xff\xfe",
    b'{"schema": ' + b"1" * 5000 + b"}",
    b'{"schema": 3, "status": []}', b'{"schema": 3, "status": "finished"}', b'"' + b"a" * (2 << 20) + b'"',
    b'{"schema": NaN}',
]  # fmt: skip


def expect_one_line(store: RunStore) -> None:
    """Check that one of two records is damaged, and that every reader says so in one line."""
    problems: list[str] = []
    assert len(read_records(store.root, problems).runs) == 1
    assert len(problems) == 1
    assert "\n" not in problems[0]
    assert len(problems[0]) < 1000
    assert sorted(status.state for status in verify_store(store)) == ["damaged", "finished"]


@pytest.fixture
def two_runs(finished_run: Path) -> tuple[RunStore, Path]:
    """Store of two finished runs, and the folder of one that tests damage."""
    store, record = RunStore(finished_run.parents[2]), json.loads((finished_run / "run.json").read_text())
    other = next(store.records([]))[1].spec.model_copy(update={"seed": 7})
    folder = store.folder(other)
    shutil.copytree(finished_run, folder)
    record |= {"spec": other.stored(), "id": other.id, "group": other.group}
    (folder / "run.json").write_text(json.dumps(record))
    assert len(read_records(store.root, []).runs) == 2
    return store, folder


def test_impossible_records_are_a_line_each(two_runs: tuple[RunStore, Path], stampbench: Command) -> None:
    store, folder = two_runs
    intact = (folder / "run.json").read_text()
    for change in IMPOSSIBLE:
        record = json.loads(intact)
        change(record)
        (folder / "run.json").write_text(json.dumps(record))
        expect_one_line(store)
    for content in TEXTS:
        (folder / "run.json").write_bytes(content)
        expect_one_line(store)
    for command in (
        ["leaderboard"],
        ["publish", "--output", "tables"],
        ["report", "--output", "page", "--no-pictures"],
    ):
        code, _, err = stampbench(*command, "--runs", store.root)
        assert (code, err.count("warning: skipped")) == (0, 1), err
    assert stampbench("predict", folder, "image.nii.gz", "--output", "maps")[0] == 2
    assert stampbench("latency", folder)[0] == 2


def test_impossible_tables_with_valid_checksums_are_a_line_each(two_runs: tuple[RunStore, Path]) -> None:
    store, folder = two_runs
    intact, cases = (folder / "run.json").read_text(), (folder / "cases.csv").read_text()
    header, first, *rows = cases.splitlines()
    scores = first.split(",")

    def with_dice(text: str) -> str:
        cells = dict(zip(header.split(","), scores, strict=True)) | {"dice": text}
        return "\n".join([header, ",".join(cells.values()), *rows, ""])

    contents = [with_dice(text).encode() for text in ("inf", "-0.5", "1.5", "x", "", "1" * 400)]
    contents += [(cases + more).encode() for more in ("\n", ",\n", first + "\n", first + ",9\n")]
    contents += [
        cases.encode() + b"\xff\n",
        b"",
        b"\n",
        (header + "\n").encode(),
        cases.replace("dice", "dise").encode(),
    ]
    for content in contents:
        (folder / "cases.csv").write_bytes(content)
        record = json.loads(intact)
        record["files"]["cases.csv"] = hashlib.sha256(content).hexdigest()
        (folder / "run.json").write_text(json.dumps(record))
        problems: list[str] = []
        assert len(read_records(store.root, problems).runs) == 1, content[-40:]
        assert len(problems) == 1, problems


@pytest.mark.parametrize("name", ["run.json", "cases.csv", "model/weights.safetensors"])
def test_devices_pipes_and_folders_are_not_waited_for(name: str, two_runs: tuple[RunStore, Path]) -> None:
    store, folder = two_runs
    path = folder / name
    path.unlink()
    os.mkfifo(path)
    assert sorted(status.state for status in verify_store(store)) == ["damaged", "finished"]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert sorted(status.state for status in verify_store(store)) == ["damaged", "finished"]
    path.unlink()
    path.mkdir()
    assert sorted(status.state for status in verify_store(store)) == ["damaged", "finished"]


@pytest.mark.parametrize("name", ["run.json", "cases.csv", "model/architecture.json", "model/weights.safetensors"])
def test_symbolic_links_are_no_files_of_a_run(name: str, two_runs: tuple[RunStore, Path]) -> None:
    """A file that is checked and then replaced by a link to another person's file is not read."""
    store, folder = two_runs
    path = folder / name
    path.rename(store.root / "elsewhere")
    path.symlink_to(store.root / "elsewhere")
    states = {status.folder: status for status in verify_store(store)}
    assert states[folder].state == "damaged"
    assert name == "run.json" or "a symbolic link, not a regular file" in states[folder].text
    if not name.startswith("model"):
        assert len(read_records(store.root, []).runs) == 1


def test_copy_of_a_run_in_another_folder_is_a_line(two_runs: tuple[RunStore, Path], stampbench: Command) -> None:
    store, folder = two_runs
    shutil.copytree(folder, store.root / "other" / "stamp" / folder.name)
    problems: list[str] = []
    assert len(read_records(store.root, problems).runs) == 2
    assert [f"belongs in {folder}" in problem for problem in problems] == [True]
    assert stampbench("store", "check", "--runs", store.root)[0] == 1
    assert stampbench("leaderboard", "--runs", store.root)[0] == 0


def test_leases_of_strangers_are_read_with_limits(finished_run: Path, stampbench: Command) -> None:
    record = (finished_run / "run.json").read_text().replace('"finished"', '"running"')
    (finished_run / "run.json").write_text(record)
    leases = finished_run.with_name(f".{finished_run.name}.leases")
    leases.mkdir()
    for content in ("[" * 100_000, '{"host": [], "pid": "x"}', '{"pid": 1e300}', "\0", "1" * 100_000):
        (leases / "000001.json").write_text(content)
        assert stampbench("store", "check")[0] == 0
    (leases / "000001.json").unlink()
    (leases / "000002.json").symlink_to("/dev/zero")
    os.mkfifo(leases / "000003.json")
    assert stampbench("store", "check")[0] == 0
