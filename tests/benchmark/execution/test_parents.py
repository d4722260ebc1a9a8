"""Strategies that build on parent runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run, with_parents
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.models.weights.serialization import load_model

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]


def test_prune_finetune_uses_the_standard_run_and_is_charged_for_it(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    run, store = make_run("prune_finetune", filters_per_step=8), RunStore(tmp_path / "runs")
    standard, pruned = with_parents([run])
    assert standard.spec.id == make_run("standard").spec.id
    assert pruned.spec.id == run.spec.id
    with pytest.raises(UserError, match=r"of standard is not finished"):
        perform(run, store)
    assert store.status(run.spec) is None
    before = perform(standard, store)
    after = perform(run, store)
    assert after.parent_epochs == before.epochs
    trajectory = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    assert trajectory["epoch"][0] == before.epochs  # the first checkpoint is the parent's network
    assert trajectory["validation_dice"][0] == pytest.approx(before.validation_dice)
    assert after.epochs == trajectory["epoch"].iloc[-1] > before.epochs
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert record["spec"]["sources"] == {"converged": standard.spec.id}


def test_retrain_scratch_trains_the_shape_of_every_second_step(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    settings = {"every_steps": 2, "source": "stamp", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    run, store = make_run("retrain_scratch", budget="source", **settings), RunStore(tmp_path / "runs")
    parent, _ = with_parents([run])
    assert parent.spec.hyperparameters["filters_per_step"] == 5
    parent_summary = perform(parent, store)
    summary = perform(run, store)
    before = pd.read_csv(store.folder(parent.spec) / "trajectory.csv")
    after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    taken = before[before["step"] % 2 == 0]
    assert list(after["widths"]) == list(taken["widths"])
    # Each shape is trained for as many epochs as had been charged to the parent run when it reached that shape.
    assert list(after["epoch"]) == (parent_summary.epochs + taken["epoch"].cumsum()).tolist()
    assert summary.parent_epochs == parent_summary.epochs
    assert summary.epochs == parent_summary.epochs + taken["epoch"].sum()


def test_retrain_scratch_trains_one_step_or_the_selected_one(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    settings = {"source": "random_largest", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    store = RunStore(tmp_path / "runs")
    for step in ("1", "selected"):
        run = make_run("retrain_scratch", step=step, **settings)
        parent, _ = with_parents([run])
        if store.status(parent.spec) != "finished":
            perform(parent, store)
        parent_summary = store.read(parent.spec)[1].results
        perform(run, store)
        expected = 1 if step == "1" else parent_summary.selected_step
        before = pd.read_csv(store.folder(parent.spec) / "trajectory.csv")
        after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
        assert list(after["widths"]) == [before["widths"][expected]]


def test_retrained_network_starts_from_new_weights(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run = make_run("retrain_scratch", step="0", source="standard")
    for each in with_parents([run]):
        perform(each, store)
    retrained = load_model(store.folder(run.spec) / "model").state_dict()
    parent = load_model(store.folder(run.parents["shapes"].spec) / "model").state_dict()
    for name in ("units.0.conv.weight", "head.weight"):
        assert retrained[name].shape == parent[name].shape
        assert not torch.isclose(retrained[name], parent[name]).any()


def test_damaged_parent_run_is_refused_before_the_run_begins(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    run, store = make_run("distill"), RunStore(tmp_path / "runs")
    teacher = run.parents["teacher"]
    perform(teacher, store)
    weights = store.folder(teacher.spec) / "model" / "weights.safetensors"
    intact_weights = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors: No such file"):
        perform(run, store)
    weights.write_bytes(intact_weights)
    trajectory = store.folder(teacher.spec) / "trajectory.csv"
    intact_text = trajectory.read_text()
    trajectory.write_text(intact_text[: len(intact_text) // 2])
    with pytest.raises(UserError, match=r"trajectory\.csv: checksum mismatch"):
        perform(run, store)
    trajectory.write_text(intact_text)
    assert store.status(run.spec) is None
    perform(run, store)
