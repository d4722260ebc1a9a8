"""Claims of a record that its own files, its data or its parent runs do not support."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.records.submission import check_submission

Table = pd.DataFrame


@pytest.fixture
def one_run(recorded_runs: Any, tmp_path: Path) -> Path:
    """Folder of a run in a store of its own."""
    folder = next(recorded_runs.runs.glob("*/stamp_plus/*"))
    copy = tmp_path / "runs" / folder.relative_to(recorded_runs.runs)
    shutil.copytree(folder, copy)
    return copy


def change_table(folder: Path, name: str, change: Callable[[Table], Table]) -> Table:
    """Change a table of a run and write its checksum into the record, as somebody who knows the format would."""
    table = change(pd.read_csv(folder / name, keep_default_na=False))
    (folder / name).write_text(table.to_csv(index=False))
    checksum = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change_record(folder, lambda record: record["files"].update({name: checksum}))
    return table


def change_record(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"test_nsd": 1.0}, "its summary says test nsd 1.0000, its cases"),
        ({"test_hausdorff": 0.0}, "its summary says test hausdorff 0.0000, its cases"),
        ({"test_empty": 10**6}, "its summary says 1000000 empty masks, its cases"),
        ({"validation_dice": 1.0}, "its summary says validation_dice 1.0000, its trajectory"),
        ({"selected_epoch": 0}, "its summary says epoch 0, its trajectory"),
        ({"selected_step": 999}, "its trajectory has no step 999"),
        ({"model_bytes": 1}, "bytes, its summary says 1"),
    ],
)
def test_summaries_that_their_tables_contradict(change: dict[str, Any], problem: str, one_run: Path) -> None:
    change_record(one_run, lambda record: record["summary"].update(change))
    assert any(problem in each for each in check_submission(one_run.parents[2], None, rescore=0).problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.assign(macs=1), "has macs 1, but its architecture"),
        (lambda table: table.assign(parameters=table["parameters"] - 1), "parameters"),
        (lambda table: table.assign(widths="1 1"), "has widths 1 1, but its architecture"),
        (lambda table: table.assign(test_dice=1.0), "its summary says test_dice"),
        (lambda table: pd.concat([table, table.tail(1)]), ""),
        (lambda table: table.assign(architecture="{}"), "architecture"),
    ],
)
def test_trajectories_that_their_architectures_contradict(
    change: Callable[[Table], Table], problem: str, one_run: Path
) -> None:
    assert not any("trajectory" in each for each in check_submission(one_run.parents[2], None, rescore=0).problems)
    table = change_table(one_run, "trajectory.csv", change)
    if table["step"].duplicated().any():  # the selected checkpoint is there twice
        change_record(one_run, lambda record: record["summary"].update(selected_step=int(table["step"].iloc[-1])))
    assert any(problem in each for each in check_submission(one_run.parents[2], None, rescore=0).problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.assign(empty="prediction"), "empty 'prediction' is impossible"),
        (lambda table: table.assign(hausdorff=table["hd95"] / 2), "hd95"),
        (lambda table: table.assign(msd=table["hausdorff"] * 2 + 1), "msd"),
    ],
)
def test_scores_that_others_contradict(change: Callable[[Table], Table], problem: str, one_run: Path) -> None:
    table = change_table(one_run, "cases.csv", change)
    means = {f"test_{name}": float(table[name].mean()) for name in ("hausdorff", "hd95", "msd")}
    change_record(one_run, lambda record: record["summary"].update(means))
    found = check_submission(one_run.parents[2], None, rescore=0).problems
    assert any(problem in each and "is impossible with its other scores" in each for each in found), found


def test_every_table_is_read(one_run: Path) -> None:
    change_table(one_run, "epochs.csv", lambda table: table.assign(parameters="many"))
    assert any("epochs.csv: row 1" in each for each in check_submission(one_run.parents[2], None, rescore=0).problems)


def test_invented_boundary_scores_and_left_out_cases_are_found_by_segmenting_again(
    one_run: Path, recorded_runs: Any
) -> None:
    """The data decides, also without a published table to compare with."""

    def problems() -> str:
        return "\n".join(check_submission(one_run.parents[2], None, recorded_runs.data, rescore=1).problems)

    intact = {path: path.read_bytes() for path in one_run.rglob("*") if path.is_file()}
    assert "network" not in problems()
    table = change_table(one_run, "cases.csv", lambda table: table.assign(nsd=(table["nsd"] + 0.5) % 1))
    change_record(one_run, lambda record: record["summary"].update(test_nsd=float(table["nsd"].mean())))
    assert "recorded nsd" in problems()
    for path, content in intact.items():
        path.write_bytes(content)
    table = change_table(one_run, "cases.csv", lambda table: table[table["case"] == table["case"].iloc[0]])
    names = ("dice", "hausdorff", "hd95", "msd", "nsd")
    summary = {f"test_{name}": float(table[name].mean()) for name in names}
    summary["test_empty"] = int(table["empty"].isin(["reference", "prediction"]).sum())
    change_record(one_run, lambda record: record["summary"].update(summary))
    assert "its cases and subjects are not the test set of its fold" in problems()
    for path, content in intact.items():
        path.write_bytes(content)
    change_table(one_run, "cases.csv", lambda table: table.assign(subject="all"))
    assert "its cases and subjects are not the test set of its fold" in problems()


def test_runs_are_charged_for_their_parent_runs(copied_runs: Any) -> None:
    def problems() -> list[str]:
        return check_submission(copied_runs.runs, None, rescore=0).problems

    assert problems() == []
    folder = next(copied_runs.runs.glob("*/retrain_scratch/*"))
    intact = (folder / "run.json").read_text()
    change_record(folder, lambda record: record["summary"].update(parent_epochs=0))
    assert any("is charged 0 epochs of its parent runs, which have" in each for each in problems())
    (folder / "run.json").write_text(intact)
    fold = json.loads(intact)["spec"]["fold"]
    other = next(
        record["id"]
        for path in copied_runs.runs.glob("*/standard/*/run.json")
        if (record := json.loads(path.read_text()))["spec"]["fold"] != fold
    )
    content = json.loads(intact)
    content["spec"]["sources"] = dict.fromkeys(content["spec"]["sources"], other)
    spec = RunSpec.model_validate(content["spec"])
    (folder / "run.json").write_text(json.dumps(content | {"id": spec.id}))
    folder.rename(folder.with_name(spec.id))
    assert any("has other data, another protocol or another fold" in each for each in problems())
