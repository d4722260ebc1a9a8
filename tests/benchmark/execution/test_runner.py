"""Execution of whole runs: their records, interruptions and replacement."""

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
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution import runner
from stampbench.benchmark.execution.run import Run, prepare_cases
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.training.session import TrainingSession
from stampbench.models.weights.serialization import load_model

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]


@pytest.mark.parametrize("dataset", ["phantom2d:size=16,cases=10", "phantom3d:size=16,cases=8"])
def test_finished_run_has_all_files_and_a_complete_record(
    perform: Perform, make_run: MakeRun, tmp_path: Path, dataset: str
) -> None:
    run = make_run("stamp", dataset, filters_per_step=4, recovery_epochs=1)
    store = RunStore(tmp_path / "runs")
    summary = perform(run, store)
    folder = store.folder(run.spec)
    assert folder == tmp_path / "runs" / run.dataset.name / "stamp" / run.spec.id
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {
        "run.json", "trajectory.csv", "epochs.csv", "pruned.csv", "cases.csv", "latency.csv",
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


def test_saved_network_reproduces_the_recorded_scores(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("standard")
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    model = load_model(store.folder(run.spec) / "model")
    cases = pd.read_csv(store.folder(run.spec) / "cases.csv").set_index(["case", "class"])
    for case in run.dataset.prepare(run.split.test).values():
        predicted = predict(model, case, torch.device("cpu"), EvaluationSettings())
        for value, name in enumerate(run.dataset.classes[1:], start=1):
            p, t = predicted == value, np.asarray(case.reference) == value
            expected = 2 * (p & t).sum() / (p.sum() + t.sum()) if p.any() or t.any() else 1.0
            assert cases.loc[(case.id, name), "dice"] == pytest.approx(expected)


def test_epochs_are_recorded_with_the_losses_of_the_checkpoints(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    run, store = make_run("stamp", filters_per_step=4, recovery_epochs=2), RunStore(tmp_path / "runs")
    summary = perform(run, store)
    epochs, trajectory = (pd.read_csv(store.folder(run.spec) / f"{name}.csv") for name in ("epochs", "trajectory"))
    assert list(epochs["epoch"]) == list(range(1, summary.epochs + 1))
    validated = epochs[epochs["validation_loss"].notna()]
    for name in ("epoch", "parameters", "training_loss", "validation_loss"):
        assert list(validated[name]) == list(trajectory[name]), name


def test_trajectory_test_scores_every_checkpoint_and_changes_nothing_else(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("stamp_plus", filters_per_step=4, recovery_epochs=12)
    tables = {}
    for tested in (False, True):
        store = RunStore(tmp_path / f"runs_{tested}")
        progress = Progress("test", 1, quiet=True)
        place = Workplace(store, ComputeSettings(device="cpu", threads=1, trajectory_test=tested), progress)
        summary = execute(run, prepare_cases([run], progress), place)
        folder = store.folder(run.spec)
        assert not (folder / "resume").exists()
        table = pd.read_csv(folder / "trajectory.csv").drop(columns="seconds")
        tables[tested] = table, summary.model_dump(exclude={"training_seconds"}), (folder / "cases.csv").read_text()
    (plain, *others), (with_test, *others_with_test) = tables[False], tables[True]
    assert others == others_with_test
    assert plain["test_dice"].isna().all()
    pd.testing.assert_frame_equal(plain.drop(columns="test_dice"), with_test.drop(columns="test_dice"))
    assert with_test["test_dice"].nunique() > 1
    selected = with_test.set_index("step")["test_dice"][others[0]["selected_step"]]
    assert selected == pytest.approx(others[0]["test_dice"], abs=1e-12)


def test_trajectory_test_is_refused_for_a_run_that_began_without_it(make_run: MakeRun, tmp_path: Path) -> None:
    run, progress = make_run("stamp", filters_per_step=4, recovery_epochs=1), Progress("test", 1, quiet=True)
    prepared = prepare_cases([run], progress)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    begun = Workplace(RunStore(tmp_path), ComputeSettings(device="cpu", threads=1), progress)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(run, prepared, begun)
    tested = begun._replace(compute=begun.compute.model_copy(update={"trajectory_test": True}))
    with pytest.raises(UserError, match="saved without trajectory_test"):
        execute(run, prepared, tested)
    assert execute(run, prepared, begun).epochs > 1


def test_pocketnet_protocol_keeps_the_largest_component(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("pocket_unet", protocol="pocketnet", protocol_settings=("max_epochs=2",))
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    cases = pd.read_csv(store.folder(run.spec) / "cases.csv").set_index(["case", "class"])
    model = load_model(store.folder(run.spec) / "model")
    with_several_components = 0
    for case in run.dataset.prepare(run.split.test).values():
        predicted = predict(model, case, torch.device("cpu"), EvaluationSettings())
        for value, name in enumerate(run.dataset.classes[1:], start=1):
            parts, count = ndimage.label(predicted == value)
            largest = max((int((parts == part).sum()) for part in range(1, count + 1)), default=0)
            assert cases.loc[(case.id, name), "predicted_voxels"] == largest
            with_several_components += count > 1
    assert with_several_components  # otherwise the test shows nothing


def test_same_specification_gives_the_same_results(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("stamp_plus", filters_per_step=5, recovery_epochs=1)
    stores = [RunStore(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        perform(run, store)
    for name in ("pruned.csv", "cases.csv", "model/weights.safetensors"):
        first, second = ((store.folder(run.spec) / name).read_bytes() for store in stores)
        assert first == second


@pytest.mark.parametrize(("depth", "steps"), [(2, 67), pytest.param(4, 347, marks=pytest.mark.slow)])
def test_network_is_pruned_to_one_filter_per_layer_in_single_steps(
    depth: int, steps: int, perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    """With depth 4 as in the paper with f=4 and one filter per step, but on 16 pixels and with one recovery epoch."""
    run = make_run("stamp", "phantom2d:size=16,cases=6", f=4, depth=depth, filters_per_step=1, recovery_epochs=1)
    store = RunStore(tmp_path / "runs")
    perform(run, store)
    pruned = pd.read_csv(store.folder(run.spec) / "pruned.csv")
    trajectory = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    assert list(pruned["step"]) == list(range(1, steps + 1))
    assert len(trajectory) == steps + 1
    assert trajectory["widths"].iloc[-1] == " ".join(["1"] * (4 * depth + 1) + ["4"])
    remaining = dict(run.architecture.layers.items())
    for row in pruned.itertuples():
        assert 0 <= row.filter < remaining[row.layer]  # type: ignore[index, operator]
        remaining[row.layer] -= 1  # type: ignore[index]
    assert set(remaining.values()) == {1}


def test_forced_run_replaces_the_old_record_only_when_it_is_finished(
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
        patch.setattr(TrainingSession, "train_epoch", stop)  # all epochs were trained before the interruption
        perform(run, store, force=True)
    assert json.loads(record.read_text())["begun"] >= json.loads(before)["begun"]
    assert [path.name for path in record.parent.parent.iterdir()] == [run.spec.id]


def test_interrupted_run_is_resumed_and_its_resume_state_is_deleted(
    perform: Perform, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("stamp", filters_per_step=6, recovery_epochs=2)
    complete, resumed = RunStore(tmp_path / "complete"), RunStore(tmp_path / "resumed")
    perform(run, complete)
    epochs: list[int] = []
    train_epoch = TrainingSession.train_epoch

    def stop_in_the_fourth_epoch(self: Any) -> None:
        if len(epochs) == 3:
            raise KeyboardInterrupt
        epochs.append(1)
        train_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "train_epoch", stop_in_the_fourth_epoch)
        with pytest.raises(KeyboardInterrupt):
            perform(run, resumed)
    assert resumed.status(run.spec) == "running"
    assert list(resumed.records([])) == []
    assert perform(run, resumed).epochs == run.expected.epochs
    assert not (resumed.folder(run.spec) / "resume").exists()
    for name in ("cases.csv", "pruned.csv", "model/weights.safetensors"):
        assert (resumed.folder(run.spec) / name).read_bytes() == (complete.folder(run.spec) / name).read_bytes()
