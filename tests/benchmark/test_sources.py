"""Strategies that build on other strategies' runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.runner import Run, with_sources
from stampbench.benchmark.store import RunStore
from stampbench.benchmark.trainer import Teacher
from stampbench.models.files import load_model
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import Bench

Perform = Callable[..., dict[str, Any]]
MakeRun = Callable[..., Run]


def test_prune_finetune_shares_an_identical_standard_run_and_is_charged_for_it(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    run, store = make_run("prune_finetune", filters_per_step=8), RunStore(tmp_path / "runs")
    standard, pruned = with_sources([run])
    assert standard.spec.id == make_run("standard").spec.id
    assert pruned.spec.id == run.spec.id
    with pytest.raises(TrainingFailedError, match=r"source standard .* is not finished"):
        perform(run, store)
    before = perform(standard, store)
    after = perform(run, store)
    assert after["source_epochs"] == before["epochs"]
    trajectory = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    assert trajectory["epoch"][0] == before["epochs"]  # the converged network is the first checkpoint, at no more cost
    assert trajectory["validation_dice"][0] == pytest.approx(before["validation_dice"])
    assert after["epochs"] == trajectory["epoch"].iloc[-1] > before["epochs"]
    assert json.loads((store.folder(run.spec) / "run.json").read_text())["sources"] == {"converged": standard.spec.id}


def test_retrain_scratch_takes_every_so_many_shapes_and_new_weights(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    settings = {"every_steps": 2, "source": "stamp", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    run, store = make_run("retrain_scratch", budget="source", **settings), RunStore(tmp_path / "runs")
    source, _ = with_sources([run])
    assert source.spec.hyperparameters["filters_per_step"] == 5
    found = perform(source, store)
    summary = perform(run, store)
    before = pd.read_csv(store.folder(source.spec) / "trajectory.csv")
    after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    taken = before[before["step"] % 2 == 0]
    assert list(after["widths"]) == list(taken["widths"])
    # each shape trains for the epochs that the source had been charged when it got there
    assert list(after["epoch"]) == (found["epochs"] + taken["epoch"].cumsum()).tolist()
    assert summary["source_epochs"] == found["epochs"]
    assert summary["epochs"] == found["epochs"] + taken["epoch"].sum()
    mine, theirs = (load_model(store.folder(each.spec) / "model") for each in (run, source))
    shared = set(mine.state_dict()) & set(theirs.state_dict())
    assert not any(
        torch.equal(mine.state_dict()[name], theirs.state_dict()[name])
        for name in shared
        if name.endswith("conv.weight")
    )


def test_retrain_scratch_of_one_step_or_the_selected_one(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    settings = {"source": "random_largest", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    store = RunStore(tmp_path / "runs")
    for step in ("1", "selected"):
        run = make_run("retrain_scratch", step=step, **settings)
        source, _ = with_sources([run])
        found = (
            perform(source, store) if store.status(source.spec) != "finished" else store.record(source.spec)["summary"]
        )
        perform(run, store)
        wanted = 1 if step == "1" else found["selected_step"]
        before = pd.read_csv(store.folder(source.spec) / "trajectory.csv")
        after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
        assert list(after["widths"]) == [before["widths"][wanted]]


def test_a_step_that_was_never_made_fails_with_the_range(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match=r"step=99: random_largest made steps 0 to \d+"):
        make_run("retrain_scratch", step="99", source="random_largest")


def test_sources_that_do_not_exist_or_go_in_circles_are_named(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="unknown strategy 'stamp_pluss'; did you mean 'stamp_plus'"):
        make_run("retrain_scratch", source="stamp_pluss")
    with pytest.raises(UserError, match="unknown hyperparameter of stamp 'ff'"):
        make_run("retrain_scratch", source="stamp", source_settings='{"ff": 2}')
    with pytest.raises(UserError, match="no JSON object"):
        make_run("retrain_scratch", source_settings="f=2")
    with pytest.raises(UserError, match="builds on itself: retrain_scratch → retrain_scratch"):
        make_run("retrain_scratch", source="retrain_scratch")


def test_distillation_adds_the_divergence_from_the_softened_teacher(tmp_path: Path) -> None:
    """(1 − w) · loss + w · T² · Σ_c t (log t − log s), mean over pixels, t and s softmaxes at temperature T."""
    entry = STRATEGIES["distill"]
    bench = Bench(entry.load()(weight=0.3, temperature=4.0), 2, tmp_path)
    trainer = bench.train("run")
    assert trainer._teacher == Teacher("teacher", 0.3, 4.0)
    pixels, labels, _ = trainer.data.training
    trainer.model.eval()
    with torch.no_grad():
        found = float(trainer._batch_loss(pixels, labels))
        student = (trainer.model(pixels).double() / 4).softmax(1)
        teacher = (trainer._sources["teacher"].model(pixels).double() / 4).softmax(1)
        divergence = (teacher * (teacher.log() - student.log())).sum(1).mean()
        plain = trainer._label_loss(trainer.model(pixels), labels)
    assert found == pytest.approx(float(0.7 * plain + 0.3 * 16 * divergence), rel=1e-4)
    assert not trainer._sources["teacher"].model.training


def test_a_class_that_falls_to_zero_is_marked(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    from stampbench.benchmark.runner import _vanished

    rows = [{"step": step, "vanished": names} for step, names in enumerate(["a; b", "b", "", "b; c", "c"])]
    assert _vanished(rows) == {"b": 3, "c": 3}  # a was never seen at all before it appeared
    run, store = make_run("stamp", filters_per_step=6, recovery_epochs=1), RunStore(tmp_path / "runs")
    perform(run, store)
    trajectory = pd.read_csv(store.folder(run.spec) / "trajectory.csv", keep_default_na=False)
    assert set("; ".join(trajectory["vanished"]).split("; ")) <= {"", "organ", "nucleus", "nodule"}
