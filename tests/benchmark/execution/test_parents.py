"""Strategies that build on other strategies' runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.conformance import Bench
from stampbench.benchmark.execution.run import Draw, Run, plan_run, with_parents
from stampbench.benchmark.execution.summary import _vanished
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.training.fold_data import Images
from stampbench.benchmark.training.session import Teacher
from stampbench.benchmark.training.trajectory import Checkpoint
from stampbench.benchmark.training.validation import validate
from stampbench.models.serialization import load_model
from stampbench.strategies.registry import STRATEGIES

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]


def test_prune_finetune_shares_an_identical_standard_run_and_is_charged_for_it(
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
    assert trajectory["epoch"][0] == before.epochs  # the converged network is the first checkpoint, at no more cost
    assert trajectory["validation_dice"][0] == pytest.approx(before.validation_dice)
    assert after.epochs == trajectory["epoch"].iloc[-1] > before.epochs
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert record["spec"]["sources"] == {"converged": standard.spec.id}


def test_retrain_scratch_takes_every_so_many_shapes_and_new_weights(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    settings = {"every_steps": 2, "source": "stamp", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    run, store = make_run("retrain_scratch", budget="source", **settings), RunStore(tmp_path / "runs")
    source, _ = with_parents([run])
    assert source.spec.hyperparameters["filters_per_step"] == 5
    found = perform(source, store)
    summary = perform(run, store)
    before = pd.read_csv(store.folder(source.spec) / "trajectory.csv")
    after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
    taken = before[before["step"] % 2 == 0]
    assert list(after["widths"]) == list(taken["widths"])
    # each shape trains for the epochs that the source had been charged when it got there
    assert list(after["epoch"]) == (found.epochs + taken["epoch"].cumsum()).tolist()
    assert summary.parent_epochs == found.epochs
    assert summary.epochs == found.epochs + taken["epoch"].sum()


def test_retrain_scratch_of_one_step_or_the_selected_one(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    settings = {"source": "random_largest", "source_settings": '{"filters_per_step": 5, "recovery_epochs": 1}'}
    store = RunStore(tmp_path / "runs")
    for step in ("1", "selected"):
        run = make_run("retrain_scratch", step=step, **settings)
        source, _ = with_parents([run])
        found = (
            perform(source, store) if store.status(source.spec) != "finished" else store.read(source.spec)[1].results
        )
        perform(run, store)
        wanted = 1 if step == "1" else found.selected_step
        before = pd.read_csv(store.folder(source.spec) / "trajectory.csv")
        after = pd.read_csv(store.folder(run.spec) / "trajectory.csv")
        assert list(after["widths"]) == [before["widths"][wanted]]


def test_a_step_that_was_never_made_fails_with_the_range(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match=r"step=99: the parent run of random_largest has only steps 0 to \d+"):
        make_run("retrain_scratch", step="99", source="random_largest")


def test_sources_that_do_not_exist_or_go_in_circles_are_named(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="unknown strategy 'stamp_pluss'; did you mean 'stamp_plus'"):
        make_run("retrain_scratch", source="stamp_pluss")
    with pytest.raises(UserError, match="unknown hyperparameter of stamp 'ff'"):
        make_run("retrain_scratch", source="stamp", source_settings='{"ff": 2}')
    with pytest.raises(UserError, match="must be a JSON object"):
        make_run("retrain_scratch", source_settings="f=2")
    with pytest.raises(UserError, match="builds on itself: retrain_scratch → retrain_scratch"):
        make_run("retrain_scratch", source="retrain_scratch")


def test_distillation_adds_the_divergence_from_the_softened_teacher(tmp_path: Path) -> None:
    """(1 − w) · loss + w · T² · Σ_c t (log t − log s), mean over pixels, t and s softmaxes at temperature T."""
    entry = STRATEGIES["distill"]
    bench = Bench(entry.load()(weight=0.3, temperature=4.0), 2, tmp_path)
    trainer = bench.train("run")
    assert trainer.session.teacher == Teacher("teacher", 0.3, 4.0)
    pixels, labels, _ = trainer.session.data.training
    trainer.model.eval()
    with torch.no_grad():
        found = float(trainer.session.batch_loss(pixels, labels))
        student = (trainer.model(pixels).double() / 4).softmax(1)
        teacher = (trainer.session.parents["teacher"].model(pixels).double() / 4).softmax(1)
        divergence = (teacher * (teacher.log() - student.log())).sum(1).mean()
        plain = trainer.session.label_loss(trainer.model(pixels), labels)
    assert found == pytest.approx(float(0.7 * plain + 0.3 * 16 * divergence), rel=1e-4)
    assert not trainer.session.parents["teacher"].model.training


def test_weights_are_new_where_the_shape_is_the_same(perform: Perform, make_run: MakeRun, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    run = make_run("retrain_scratch", step="0", source="standard")
    for each in with_parents([run]):
        perform(each, store)
    mine = load_model(store.folder(run.spec) / "model").state_dict()
    theirs = load_model(store.folder(run.parents["shapes"].spec) / "model").state_dict()
    for name in ("units.0.conv.weight", "head.weight"):
        assert mine[name].shape == theirs[name].shape
        assert not torch.isclose(mine[name], theirs[name]).any()


def test_one_source_can_serve_several_seeds(make_run: MakeRun) -> None:
    fixed = make_run("retrain_scratch", source_seed=7)
    again, own = (
        plan_run(each.resolved, each.dataset, each.spec.protocol, Draw(None, fold=0, seed=1))
        for each in (fixed, make_run("retrain_scratch"))
    )
    assert fixed.spec.id != again.spec.id
    assert fixed.parents["shapes"].spec.id == again.parents["shapes"].spec.id
    assert again.parents["shapes"].spec.seed == 7
    assert own.parents["shapes"].spec.seed == 1


def test_a_damaged_source_is_named_and_leaves_the_run_alone(
    perform: Perform, make_run: MakeRun, tmp_path: Path
) -> None:
    run, store = make_run("distill"), RunStore(tmp_path / "runs")
    teacher = run.parents["teacher"]
    perform(teacher, store)
    weights = store.folder(teacher.spec) / "model" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors: No such file"):
        perform(run, store)
    weights.write_bytes(whole)
    trajectory = store.folder(teacher.spec) / "trajectory.csv"
    text = trajectory.read_text()
    trajectory.write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match=r"trajectory\.csv: checksum mismatch"):
        perform(run, store)
    trajectory.write_text(text)
    assert store.status(run.spec) is None
    perform(run, store)


def test_a_class_that_falls_to_zero_is_marked_though_some_case_lacks_it(make_run: MakeRun, tmp_path: Path) -> None:
    """All background, on two cases of which one has no class 2: its Dice is 1 there, and gone it is."""
    rows = [
        Checkpoint.model_construct(step=step, vanished=names)
        for step, names in enumerate(["a; b", "b", "", "b; c", "c"])
    ]
    assert _vanished(rows) == {"b": 3, "c": 3}  # a was never seen at all before it appeared
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[:, :2] = 1
    labels[0, 4:] = 2
    images = Images(torch.zeros(2, 1, 8, 8), labels, torch.tensor([0, 1]))

    class Background(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[:, 0] + 1, x[:, 0], x[:, 0], x[:, 0]], 1)

    scored = validate(Background(), images, 4, lambda logits, labels: logits.mean(), 2)
    assert scored.dice == (0.0, 0.5, 1.0)
    assert scored.vanished == (True, True, False)  # class 3 is in no label
