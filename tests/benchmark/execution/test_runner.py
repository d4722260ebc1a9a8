"""Whole runs and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution import runner
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.records.tables import read_records
from stampbench.benchmark.training.session import TrainingSession
from stampbench.models.serialization import load_model

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]


@pytest.mark.parametrize("dataset", ["phantom2d:size=16,cases=10", "phantom3d:size=16,cases=8"])
def test_a_record_holds_everything(perform: Perform, make_run: MakeRun, tmp_path: Path, dataset: str) -> None:
    run = make_run("stamp", dataset, filters_per_step=4, recovery_epochs=1)
    store = RunStore(tmp_path / "runs")
    summary = perform(run, store)
    folder = store.folder(run.spec)
    assert folder == tmp_path / "runs" / run.dataset.name / "stamp" / run.spec.id
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "trajectory.csv", "pruned.csv", "cases.csv", "latency.csv",
        "model/architecture.json", "model/weights.safetensors",
    }  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["summary"] == summary.model_dump()
    assert record["dataset"]["synthetic"] is True
    assert set(record["provenance"]) == {"packages", "git_commit", "git_dirty"}

    trajectory, pruned = pd.read_csv(folder / "trajectory.csv"), pd.read_csv(folder / "pruned.csv")
    cases = pd.read_csv(folder / "cases.csv", keep_default_na=False)
    start = sum(run.architecture.layers.values())
    assert len(pruned) == start - len(run.architecture.layers)
    assert pruned.groupby("step").size().iloc[:-1].eq(4).all()
    assert trajectory["parameters"].is_monotonic_decreasing
    assert list(trajectory["step"]) == list(range(len(trajectory)))
    assert set(cases["case"]) == set(run.split.test)
    assert len(cases) == 3 * len(run.split.test)
    assert summary.test_dice == pytest.approx(cases["dice"].mean())


def test_the_stored_model_gives_the_stored_scores(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("standard")
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    model = load_model(store.folder(run.spec) / "model")
    cases = pd.read_csv(store.folder(run.spec) / "cases.csv").set_index(["case", "class"])
    for case in run.dataset.prepare(run.split.test).values():
        predicted = predict(model, case, torch.device("cpu"), EvaluationSettings())
        for value, name in enumerate(run.dataset.classes[1:], start=1):
            p, t = predicted == value, np.asarray(case.reference) == value
            both = 2 * (p & t).sum() / (p.sum() + t.sum()) if p.any() or t.any() else 1.0
            assert cases.loc[(case.id, name), "dice"] == pytest.approx(both)


def test_pocketnets_protocol_keeps_the_largest_component(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("pocket_unet", protocol="pocketnet", protocol_settings=("max_epochs=2",))
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    cases = pd.read_csv(store.folder(run.spec) / "cases.csv").set_index(["case", "class"])
    model = load_model(store.folder(run.spec) / "model")
    fewer = 0
    for case in run.dataset.prepare(run.split.test).values():
        predicted = predict(model, case, torch.device("cpu"), EvaluationSettings())
        for value, name in enumerate(run.dataset.classes[1:], start=1):
            parts, count = ndimage.label(predicted == value)
            largest = max((int((parts == part).sum()) for part in range(1, count + 1)), default=0)
            assert cases.loc[(case.id, name), "predicted_voxels"] == largest
            fewer += count > 1
    assert fewer  # otherwise there was nothing to remove


def test_the_same_spec_gives_the_same_record(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("stamp_plus", filters_per_step=5, recovery_epochs=1)
    stores = [RunStore(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        perform(run, store)
    for name in ("pruned.csv", "cases.csv", "model/weights.safetensors"):
        first, second = ((store.folder(run.spec) / name).read_bytes() for store in stores)
        assert first == second


def test_default_network_is_pruned_one_by_one_to_the_end_in_347_steps(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    """f=4, depth 4, one filter per step, as the paper: on 16 pixels and one recovery epoch, to take seconds."""
    run = make_run("stamp", "phantom2d:size=16,cases=6", f=4, depth=4, filters_per_step=1, recovery_epochs=1)
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    pruned = pd.read_csv(store.folder(run.spec) / "pruned.csv")
    trajectory = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    assert list(pruned["step"]) == list(range(1, 348))
    assert len(trajectory) == 348
    assert trajectory["widths"].iloc[-1] == " ".join(["1"] * 17 + ["4"])
    left = dict(run.architecture.layers.items())
    for row in pruned.itertuples():
        assert 0 <= row.filter < left[row.layer]  # type: ignore[index, operator]
        left[row.layer] -= 1  # type: ignore[index]
    assert set(left.values()) == {1}


def test_a_failed_run_is_recorded_with_its_reason_and_is_not_done(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")

    def fail(*_: Any) -> None:
        raise TrainingFailedError("training loss is nan in epoch 7")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", fail)
        with pytest.raises(TrainingFailedError):
            perform(run, store)
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert (record["status"], record["reason"]) == ("failed", "training loss is nan in epoch 7")
    assert list(store.records([])) == []
    perform(run, store)
    assert store.status(run.spec) == "finished"


def test_force_keeps_the_old_record_until_the_new_one_is_finished(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")
    perform(run, store)
    record = store.folder(run.spec) / "run.json"
    before = record.read_text()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("stampbench.benchmark.training.trainer.RunTrainer._checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            perform(run, store, force=True)
    assert record.read_text() == before
    assert [each.id for _, each in store.records([])] == [run.spec.id]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", stop)  # every epoch was trained before the interruption
        perform(run, store, force=True)
    assert json.loads(record.read_text())["begun"] >= json.loads(before)["begun"]
    assert [path.name for path in record.parent.parent.iterdir()] == [run.spec.id]


def test_an_interrupted_run_goes_on_and_its_resume_state_is_dropped(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("stamp", filters_per_step=6, recovery_epochs=2)
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    perform(run, whole)
    epochs: list[int] = []
    epoch = TrainingSession.train_epoch

    def stop_in_the_fourth(self: Any) -> None:
        if len(epochs) == 3:
            raise KeyboardInterrupt
        epochs.append(1)
        epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", stop_in_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            perform(run, parts)
    assert parts.status(run.spec) == "running"
    assert list(parts.records([])) == []
    assert perform(run, parts).epochs == run.expected.epochs
    assert not (parts.folder(run.spec) / "resume").exists()
    for name in ("cases.csv", "pruned.csv", "model/weights.safetensors"):
        assert (parts.folder(run.spec) / name).read_bytes() == (whole.folder(run.spec) / name).read_bytes()


def test_what_was_trained_survives_an_error_that_is_not_the_run_s(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "evaluate", fail)
        with pytest.raises(TrainingFailedError, match="RuntimeError: CUDA out of memory"):
            perform(run, store)
    assert store.status(run.spec) == "failed"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", fail)
        perform(run, store)
    assert store.status(run.spec) == "finished"


def test_damaged_records_are_left_out_and_named(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    store, runs = RunStore(tmp_path / "runs"), [make_run("standard"), make_run("stamp", filters_per_step=6)]
    for run in runs:
        perform(run, store)
    cases, record = store.folder(runs[0].spec) / "cases.csv", store.folder(runs[0].spec) / "run.json"
    whole, described = cases.read_bytes(), record.read_text()
    lacking = {key: value for key, value in json.loads(described).items() if key != "spec"}
    faults = [
        (cases, whole[: len(whole) * 2 // 3], "cases.csv: checksum mismatch"),
        (cases, b"", "cases.csv: checksum mismatch"),
        (cases, None, "cases.csv: No such file"),
        (record, b"{", "run.json: not a record"),
        (record, json.dumps(lacking).encode(), "run.json: incomplete record: missing spec"),
        (record, json.dumps({**lacking, "schema": 99}).encode(), "run.json: has schema 99"),
    ]
    for path, content, message in faults:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        problems: list[str] = []
        frame, rows, *_ = read_records(store.root, problems)
        assert list(frame["run"]) == [runs[1].spec.id]
        assert set(rows["run"]) == {runs[1].spec.id}
        assert len(problems) == 1
        assert message in problems[0]
        cases.write_bytes(whole)
        record.write_text(described)
    problems = []
    assert len(read_records(store.root, problems).runs) == 2
    assert problems == []


def test_a_network_too_deep_for_the_images_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="depth 5 needs sizes that are multiples of 32, but phantom2d has 16"):
        make_run("standard", depth=5)


def test_single_images_with_a_bottleneck_of_one_voxel_are_refused(make_run: MakeRun) -> None:
    """BatchNorm has then one value per channel and nothing to average: 5 training images in batches of 2."""
    with pytest.raises(UserError, match=r"leave a batch with a single one.*batch_size"):
        make_run("standard", "phantom2d:size=16,cases=13", depth=4)


def test_a_store_that_cannot_be_written_is_named(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = RunStore(tmp_path / "file")
    with pytest.raises(UserError, match="cannot write runs to"):
        store.check_writable()
    with pytest.raises(UserError, match="cannot write runs to"):
        perform(make_run("standard"), store)
