"""Resume states: runs that are interrupted end bit for bit like uninterrupted ones, and damage is detected."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run, prepare_cases
from stampbench.benchmark.training.fold_data import load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import CountingTrainer, check_conformance

MakeTrainer = Callable[..., CountingTrainer]


def train_interrupted(make_trainer: MakeTrainer, run: Run, folder: Path, after: int) -> CountingTrainer:
    """Train to the end, interrupted after every `after` calls as by Ctrl-C and resumed in a new trainer."""
    while True:
        trainer = make_trainer(run, folder)
        trainer.calls_left = after
        try:
            run.resolved.strategy.fit(trainer)
        except KeyboardInterrupt:
            trainer.save()
            continue
        return trainer


STRATEGY_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("stamp", {"recovery_epochs": 2, "filters_per_step": 7, "optimiser": "carry"}),
    ("stamp_plus", {"recovery_epochs": 1, "filters_per_step": 7, "recompute": True}),
]


@pytest.mark.parametrize(("name", "settings"), STRATEGY_SETTINGS)
@pytest.mark.parametrize("after", [1, 3])
def test_interrupted_run_ends_bit_for_bit_like_an_uninterrupted_one(
    make_run: Callable[..., Run],
    make_trainer: MakeTrainer,
    tmp_path: Path,
    name: str,
    settings: dict[str, Any],
    after: int,
) -> None:
    run = make_run(name, **settings)
    complete = make_trainer(run, tmp_path / "complete")
    run.resolved.strategy.fit(complete)
    resumed = train_interrupted(make_trainer, run, tmp_path / "resumed", after)

    def without_times(trainer: RunTrainer) -> Iterator[dict[str, Any]]:
        return (row.model_dump(exclude={"seconds"}) for row in trainer.trajectory)

    assert list(without_times(resumed)) == list(without_times(complete))
    assert resumed.pruned == complete.pruned
    assert resumed.architecture == complete.architecture
    assert resumed.selected is not None
    assert complete.selected is not None
    for found, expected in (
        (resumed.model.state_dict(), complete.model.state_dict()),
        (resumed.selected[2], complete.selected[2]),
    ):
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_learning_rate_schedule_is_resumed(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    settings = ("max_epochs=8", "plateau_patience=0", "learning_rate=0.5")
    run = make_run("pocket_resnet", protocol="pocketnet", protocol_settings=settings)
    complete = make_trainer(run, tmp_path / "complete")
    rates = []

    def record_rate(epoch: int) -> None:
        rates.append(complete.session.optimiser.param_groups[0]["lr"])

    train_to_convergence(complete, 8, record_rate)
    complete.checkpoint()
    assert rates[-1] < rates[0] == 0.5
    resumed = train_interrupted(make_trainer, run, tmp_path / "resumed", 3)
    assert [row.validation_dice for row in resumed.trajectory] == [row.validation_dice for row in complete.trajectory]
    expected = complete.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())


def test_polynomial_decay_and_momentum_are_resumed_bit_for_bit_after_prunes_too(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run(
        "stamp_plus",
        "phantom2d:size=16,cases=8",
        protocol="nnunet",
        protocol_settings=("max_epochs=4",),
        network=("nnunet_reference", {"f": 2}),
        filters_per_step=10,
        recovery_epochs=1,
        optimiser="carry",
    )
    complete = make_trainer(run, tmp_path / "complete")
    rates: list[float] = []
    train = complete.session.train_epoch

    def train_epoch() -> None:
        train()
        rates.append(complete.session.optimiser.param_groups[0]["lr"])

    complete.session.train_epoch = train_epoch  # type: ignore[method-assign]
    run.resolved.strategy.fit(complete)
    assert len(rates) > 4
    assert rates[:5] == pytest.approx([0.01 * (1 - min(epoch, 3) / 4) ** 0.9 for epoch in range(5)])
    resumed = train_interrupted(make_trainer, run, tmp_path / "resumed", 2)
    assert [row.training_loss for row in resumed.session.epochs] == [
        row.training_loss for row in complete.session.epochs
    ]
    expected = complete.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model.state_dict().items())


def test_interruption_within_an_epoch_resumes_from_the_state_before_it(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """The optimiser has made a step when the epoch is interrupted; the saved state is the one before that epoch."""
    run = make_run("standard")
    complete = make_trainer(run, tmp_path / "complete")
    complete.train(3)
    first = make_trainer(run, tmp_path / "resumed")
    first.train(2)
    first.save()
    second = make_trainer(run, tmp_path / "resumed")
    second.train(2)
    of_batch, batches = second.session.loss._of_batch, 0

    def stop_at_the_second_batch(*arguments: Any) -> torch.Tensor:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt
        return of_batch(*arguments)

    second.session.loss._of_batch = stop_at_the_second_batch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        second.train(1)
    second.save()
    third = make_trainer(run, tmp_path / "resumed")
    third.train(3)
    assert third.charges.epochs == complete.charges.epochs == 3
    expected = complete.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in third.model.state_dict().items())


def test_interrupted_run_on_augmented_patches_ends_with_the_same_weights(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run("stamp_plus", protocol_settings=("max_epochs=4", "augmentation=monai"))
    progress = Progress("test", 1, quiet=True)
    data = load_fold(run.split, prepare_cases([run], progress), run.dataset, torch.device("cpu"))
    data = data._replace(size=(8, 8), patch=(8, 8))
    weights = []
    for stop_after in (None, 2):
        resume = ResumeFile(tmp_path / str(stop_after))
        while True:
            trainer = CountingTrainer(run.spec, run.architecture, data, ComputeSettings(device="cpu"), progress, resume)
            trainer.calls_left = stop_after
            try:
                run.resolved.strategy.fit(trainer)
                break
            except KeyboardInterrupt:
                trainer.save()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_strategy_that_gathers_norms_passes_the_resume_check(tmp_path: Path) -> None:
    check_conformance(STRATEGIES["stamp_plus"].load()(dropout="targeted", importance="l2_gathered"), 2, tmp_path)


def test_run_is_not_resumed_with_other_kernels(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run("stamp")
    first = make_trainer(run, tmp_path, ComputeSettings(device="cpu", kernels="plain"))
    first.train(1)
    first.save()
    with pytest.raises(UserError, match="saved with plain kernels"):
        make_trainer(run, tmp_path, ComputeSettings(device="cpu", kernels="fast"))


def test_damaged_resume_state_is_refused(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run("standard")
    trainer = make_trainer(run, tmp_path)
    trainer.train(1)
    trainer.save()
    state = tmp_path / "resume" / "state.pt"
    intact = state.read_bytes()
    for content in (intact[:100], b"", b"\x80\x04cposix\nsystem\n."):
        state.write_bytes(content)
        with pytest.raises(UserError, match=r"state\.pt: damaged resume state.*delete .*resume to start over"):
            make_trainer(run, tmp_path)
    state.write_bytes(intact)
    with pytest.raises(UserError, match="saved by another version of the strategy"):
        make_trainer(run, tmp_path).checkpoint()


def test_damaged_state_falls_back_to_the_previous_state(tmp_path: Path) -> None:
    resume, messages = ResumeFile(tmp_path / "resume"), list[str]()
    resume.write({"epoch": 1})
    resume.write({"epoch": 2})
    assert resume.read() == {"version": 6, "epoch": 2}
    content = bytearray(resume.path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    resume.path.write_bytes(content)
    assert resume.read(messages.append) == {"version": 6, "epoch": 1}
    assert messages == [f"{resume.path}: damaged resume state (checksum mismatch); resuming from the previous state"]
    resume.path.unlink()  # the process was killed between two renames
    assert resume.read() == {"version": 6, "epoch": 1}
    (tmp_path / "resume" / "previous.pt").write_bytes(b"")
    with pytest.raises(UserError, match=r"delete .*resume to start over"):
        resume.read()


def test_full_disk_keeps_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    resume = ResumeFile(tmp_path / "resume")
    resume.write({"epoch": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        resume.write({"epoch": 2})
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["state.pt"]
    assert resume.read() == {"version": 6, "epoch": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("journal"),
        lambda state: state.pop("charges"),
        lambda state: state["charges"].update(epochs=-5),
        lambda state: state["charges"].update(seconds=float("inf")),
        lambda state: state["charges"].update(parent_epochs=10**9),
        lambda state: state["charges"].update(other=1),
        lambda state: state.update(order=7),
        lambda state: state.update(trajectory=[{"step": "x"}]),
    ],
)
def test_state_with_a_valid_checksum_and_other_content_is_an_error(
    change: Callable[[dict[str, Any]], object], make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run("standard")
    trainer = make_trainer(run, tmp_path)
    trainer.train(1)
    trainer.save()
    resume = ResumeFile(tmp_path / "resume")
    state = resume.read()
    assert state is not None
    change(state)
    resume.write(state)
    with pytest.raises(UserError, match=r"damaged resume state.*delete .* to start over"):
        make_trainer(run, tmp_path)


def test_state_that_is_no_dictionary_is_an_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save([1], buffer)
    checksum = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    (tmp_path / "state.pt").write_bytes(checksum + b"\n" + buffer.getvalue())
    with pytest.raises(UserError, match="holds a list"):
        ResumeFile(tmp_path).read()
