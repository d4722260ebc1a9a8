"""Training: the loss, the books, and resuming bit for bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.run import Run, prepare_cases
from stampbench.benchmark.training.fold_data import load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.models.architecture import Filter
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import CountingTrainer, check_conformance

CPU = ComputeSettings(device="cpu")


@pytest.fixture(autouse=True)
def _kernels_of_the_session(compute: ComputeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "CPU", compute)


def trainer_of(run: Run, folder: Path, compute: ComputeSettings | None = None) -> CountingTrainer:
    compute = compute or CPU
    progress = Progress("test", 1, quiet=True)
    prepared = prepare_cases([run], progress)
    data = load_fold(run.split, prepared, run.dataset, compute.torch_device)
    return CountingTrainer(run.spec, run.architecture, data, compute, progress, ResumeFile(folder / "resume"))


def test_validation_dice_is_per_case_and_class_with_empty_as_perfect(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    trainer = trainer_of(make_run("standard"), tmp_path)
    trainer.train(2)
    images = trainer.session.data.validation
    predicted = trainer.model.eval()(images.pixels).argmax(1)
    scores = []
    for prediction, label in zip(predicted, images.labels, strict=True):
        for c in (1, 2, 3):
            p, t = prediction == c, label == c
            scores.append(1.0 if not (p.any() or t.any()) else float(2 * (p & t).sum() / (p.sum() + t.sum())))
    assert trainer.validate().dice == pytest.approx(sum(scores) / len(scores))


def test_every_epoch_and_ranking_pass_is_charged(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("stamp", recovery_epochs=2, filters_per_step=6)
    trainer = trainer_of(run, tmp_path)
    run.resolved.strategy.fit(trainer)
    steps = len(trainer.trajectory) - 1
    assert trainer.charges.epochs == 1 + 2 * steps == run.expected.epochs
    assert trainer.charges.ranking_passes == steps == run.expected.ranking_passes
    assert [row.epoch for row in trainer.trajectory] == [1 + 2 * step for step in range(steps + 1)]


def test_selected_is_the_best_by_validation_dice(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("stamp", recovery_epochs=1, filters_per_step=2)
    trainer = trainer_of(run, tmp_path)
    run.resolved.strategy.fit(trainer)
    table = pd.DataFrame([row.model_dump() for row in trainer.trajectory])
    assert trainer.selected is not None
    assert trainer.selected.step == table["validation_dice"].idxmax()
    model = trainer.selected_model()
    assert sum(p.numel() for p in model.parameters()) == table["parameters"][trainer.selected.step]


def test_pruning_renews_the_optimiser_or_carries_its_moments(make_run: Callable[..., Run], tmp_path: Path) -> None:
    trainer = trainer_of(make_run("stamp"), tmp_path)
    trainer.train(1)
    conv = trainer.model.layer("conv1").conv
    moments = trainer.session.optimiser.state[conv.weight]["exp_avg"].clone()
    trainer.prune([Filter("conv1", 0)], "carry")
    carried = trainer.session.optimiser.state[trainer.model.layer("conv1").conv.weight]
    assert torch.equal(carried["exp_avg"], moments[1:])
    assert float(carried["step"]) == 2
    trainer.train(1)
    trainer.prune([Filter("conv2", 1)])
    assert not trainer.session.optimiser.state


def interrupted(run: Run, folder: Path, after: int) -> CountingTrainer:
    """Run until `after` calls are done, stop as Ctrl-C would, and go on in a new trainer until the next stop."""
    while True:
        trainer = trainer_of(run, folder)
        trainer.calls_left = after
        try:
            run.resolved.strategy.fit(trainer)
        except KeyboardInterrupt:
            trainer.save()
            continue
        return trainer


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("stamp", {"recovery_epochs": 2, "filters_per_step": 7, "optimiser": "carry"}),
    ("stamp_plus", {"recovery_epochs": 1, "filters_per_step": 7, "recompute": True}),
]


@pytest.mark.parametrize(("name", "settings"), SCHEDULES)
@pytest.mark.parametrize("after", [1, 3])
def test_a_run_stopped_again_and_again_ends_bit_for_bit_the_same(
    make_run: Callable[..., Run], tmp_path: Path, name: str, settings: dict[str, Any], after: int
) -> None:
    run = make_run(name, **settings)
    whole = trainer_of(run, tmp_path / "whole")
    run.resolved.strategy.fit(whole)
    parts = interrupted(run, tmp_path / "parts", after)

    def without_times(trainer: RunTrainer) -> Iterator[dict[str, Any]]:
        return (row.model_dump(exclude={"seconds"}) for row in trainer.trajectory)

    assert list(without_times(parts)) == list(without_times(whole))
    assert parts.pruned == whole.pruned
    assert parts.architecture == whole.architecture
    assert parts.selected is not None
    assert whole.selected is not None
    for mine, other in (
        (parts.model.state_dict(), whole.model.state_dict()),
        (parts.selected[2], whole.selected[2]),
    ):
        assert all(torch.equal(mine[key], other[key]) for key in other)


def test_a_learning_rate_on_its_way_down_is_resumed(make_run: Callable[..., Run], tmp_path: Path) -> None:
    settings = ("max_epochs=8", "plateau_patience=0", "learning_rate=0.5")
    run = make_run("pocket_resnet", protocol="pocketnet", protocol_settings=settings)
    whole = trainer_of(run, tmp_path / "whole")
    rates = []

    def note_the_rate(epoch: int) -> None:
        rates.append(whole.session.optimiser.param_groups[0]["lr"])

    train_to_convergence(whole, 8, note_the_rate)
    whole.checkpoint()
    assert rates[-1] < rates[0] == 0.5
    parts = interrupted(run, tmp_path / "parts", 3)
    assert [row.validation_dice for row in parts.trajectory] == [row.validation_dice for row in whole.trajectory]
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in parts.model.state_dict().items())


def test_an_interruption_in_the_middle_of_an_epoch_leaves_no_trace(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    """The optimiser has moved when the resumed epoch stops; what is saved then is the state before that epoch."""
    run = make_run("standard")
    whole = trainer_of(run, tmp_path / "whole")
    whole.train(3)
    first = trainer_of(run, tmp_path / "parts")
    first.train(2)
    first.save()
    second = trainer_of(run, tmp_path / "parts")
    second.train(2)
    batch_loss, batches = second.session.batch_loss, 0

    def stop_at_the_second_batch(*tensors: torch.Tensor) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt
        return batch_loss(*tensors)

    second.session.batch_loss = stop_at_the_second_batch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        second.train(1)
    second.save()
    third = trainer_of(run, tmp_path / "parts")
    third.train(3)
    assert third.charges.epochs == whole.charges.epochs == 3
    expected = whole.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in third.model.state_dict().items())


def test_a_damaged_resume_file_is_named(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("standard")
    trainer = trainer_of(run, tmp_path)
    trainer.train(1)
    trainer.save()
    state = tmp_path / "resume" / "state.pt"
    whole = state.read_bytes()
    for content in (whole[:100], b"", b"\x80\x04cposix\nsystem\n."):
        state.write_bytes(content)
        with pytest.raises(UserError, match=r"state\.pt: damaged resume state.*delete .*resume to start over"):
            trainer_of(run, tmp_path)
    state.write_bytes(whole)
    with pytest.raises(UserError, match="saved by another version of the strategy"):
        trainer_of(run, tmp_path).checkpoint()


def test_a_loss_that_is_no_number_fails_the_run(make_run: Callable[..., Run], tmp_path: Path) -> None:
    trainer = trainer_of(make_run("standard"), tmp_path)
    nn.init.constant_(trainer.model.head.weight, float("nan"))
    with pytest.raises(TrainingFailedError, match="loss is nan in epoch 1"):
        trainer.train(1)
    assert trainer.selected is None


@pytest.mark.parametrize("dataset", ["phantom2d:size=32,cases=10", "phantom3d:size=16,cases=10"])
@pytest.mark.parametrize("strategy", ["standard_d", "pocket_resnet"])
def test_ten_epochs_of_the_fast_kernels_follow_the_plain_ones(
    make_run: Callable[..., Run], tmp_path: Path, dataset: str, strategy: str
) -> None:
    """Rounding grows from step to step, and how fast is measured: the plain path with its weights rounded otherwise."""
    run = make_run(strategy, dataset=dataset, f=4, depth=2 if strategy == "standard_d" else 4)

    def losses(name: str, kernels: str, nudge: float = 0.0) -> list[float]:
        trainer = trainer_of(run, tmp_path / name, ComputeSettings(device="cpu", kernels=kernels))  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter *= 1 + nudge * torch.randint(-1, 2, parameter.shape)
        curve = []
        for _ in range(10):
            trainer.train(1)
            curve.append(trainer.session.training_loss)
        return curve

    plain, fast, nudged = losses("plain", "plain"), losses("fast", "fast"), losses("nudged", "plain", 2**-23)
    assert plain[-1] < plain[0]
    for epoch in range(10):
        allowed = 10 * max(abs(nudged[e] - plain[e]) for e in range(epoch + 1)) + 2e-6
        assert abs(fast[epoch] - plain[epoch]) <= allowed, epoch
    assert max(abs(a - b) for a, b in zip(fast, plain, strict=True)) < 0.02


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_gathered_norms_are_those_of_the_last_epochs_relu_outputs(
    make_run: Callable[..., Run], tmp_path: Path, kernels: str
) -> None:
    trainer = trainer_of(
        make_run("stamp", importance="l2_gathered"), tmp_path, ComputeSettings(device="cpu", kernels=kernels)
    )  # type: ignore[arg-type]
    trainer.train(1)
    with pytest.raises(StrategyError, match="l2_gathered"):
        trainer.score("l2_gathered")
    seen: dict[str, list[Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            seen.setdefault(name, []).append(output.detach().flatten(2).double().norm(dim=2))

        return see

    hooks = [each.register_forward_hook(watch(name)) for name, each in trainer.model.activations().items()]
    trainer.train(2, gather=True)
    for hook in hooks:
        hook.remove()
    images = len(trainer.session.data.training.pixels)
    for name, scores in trainer.score("l2_gathered").items():
        assert scores == pytest.approx(torch.cat(seen[name])[-images:].mean(0).tolist(), rel=1e-5)
    assert trainer.charges.ranking_passes == 0
    trainer.prune([Filter("conv1", 0)])
    with pytest.raises(StrategyError, match="l2_gathered"):
        trainer.score("l2_gathered")


def test_a_gathering_run_ends_the_same_when_it_is_interrupted(tmp_path: Path) -> None:
    check_conformance(STRATEGIES["stamp_plus"].load()(dropout="targeted", importance="l2_gathered"), 2, tmp_path)


def test_a_run_is_not_resumed_with_other_kernels(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("stamp")
    begun = trainer_of(run, tmp_path, ComputeSettings(device="cpu", kernels="plain"))
    begun.train(1)
    begun.save()
    with pytest.raises(UserError, match="saved with plain kernels"):
        trainer_of(run, tmp_path, ComputeSettings(device="cpu", kernels="fast"))


@pytest.mark.parametrize("strategy", ["standard_d", "pocket_resnet"])
def test_saving_memory_changes_nothing(make_run: Callable[..., Run], tmp_path: Path, strategy: str) -> None:
    run = make_run(strategy, depth=4)
    weights = []
    for save_memory in (False, True):
        trainer = trainer_of(run, tmp_path / str(save_memory), CPU.model_copy(update={"save_memory": save_memory}))
        trainer.train(2)
        weights.append(list(trainer.model.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_bf16_learns_as_fp32_does_and_is_another_run(make_run: Callable[..., Run], tmp_path: Path) -> None:
    runs = [make_run("standard", f=4, depth=2, protocol_settings=("max_epochs=3", *more))
            for more in ((), ("precision=bf16",))]  # fmt: skip
    assert runs[0].spec.group != runs[1].spec.group
    losses = []
    for number, run in enumerate(runs):
        trainer = trainer_of(run, tmp_path / str(number))
        trainer.train(5)
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
        losses.append(trainer.session.training_loss)
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)
