"""The trainer that strategies see: charges, selection, pruning, failures, and fast kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.errors import TrainingFailedError
from stampbench.benchmark.execution.run import Run
from stampbench.models.architecture import Filter
from stampbench.strategies.testing import CountingTrainer

MakeTrainer = Callable[..., CountingTrainer]


def test_every_epoch_and_ranking_pass_is_charged(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run("stamp", recovery_epochs=2, filters_per_step=6)
    trainer = make_trainer(run, tmp_path)
    run.resolved.strategy.fit(trainer)
    steps = len(trainer.trajectory) - 1
    assert trainer.charges.epochs == 1 + 2 * steps == run.expected.epochs
    assert trainer.charges.ranking_passes == steps == run.expected.ranking_passes
    assert [row.epoch for row in trainer.trajectory] == [1 + 2 * step for step in range(steps + 1)]


def test_selected_checkpoint_has_the_best_validation_dice(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    run = make_run("stamp", recovery_epochs=1, filters_per_step=2)
    trainer = make_trainer(run, tmp_path)
    run.resolved.strategy.fit(trainer)
    table = pd.DataFrame([row.model_dump() for row in trainer.trajectory])
    assert trainer.selected is not None
    assert trainer.selected.step == table["validation_dice"].idxmax()
    model = trainer.selected_model()
    assert sum(p.numel() for p in model.parameters()) == table["parameters"][trainer.selected.step]


def test_pruning_makes_a_new_optimiser_or_carries_its_moments(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(make_run("stamp"), tmp_path)
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


def test_loss_that_is_not_finite_fails_the_run(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(make_run("standard"), tmp_path)
    nn.init.constant_(trainer.model.head.weight, float("nan"))
    with pytest.raises(TrainingFailedError, match="loss is nan in epoch 1"):
        trainer.train(1)
    assert trainer.selected is None


@pytest.mark.parametrize("dataset", ["phantom2d:size=32,cases=10", "phantom3d:size=16,cases=10"])
@pytest.mark.parametrize("strategy", ["standard_d", "pocket_resnet"])
def test_ten_epochs_of_fast_kernels_deviate_from_plain_ones_like_rounding_errors(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path, dataset: str, strategy: str
) -> None:
    """Training amplifies rounding errors; a plain run with differently rounded weights shows by how much."""
    run = make_run(strategy, dataset=dataset, f=4, depth=2 if strategy == "standard_d" else 4)

    def losses(name: str, kernels: str, perturbation: float = 0.0) -> list[float]:
        trainer = make_trainer(run, tmp_path / name, ComputeSettings(device="cpu", kernels=kernels))  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter *= 1 + perturbation * torch.randint(-1, 2, parameter.shape)
        curve = []
        for _ in range(10):
            trainer.train(1)
            curve.append(trainer.session.training_loss)
        return curve

    plain, fast, perturbed = losses("plain", "plain"), losses("fast", "fast"), losses("perturbed", "plain", 2**-23)
    assert plain[-1] < plain[0]
    for epoch in range(10):
        allowed = 10 * max(abs(perturbed[e] - plain[e]) for e in range(epoch + 1)) + 2e-6
        assert abs(fast[epoch] - plain[epoch]) <= allowed, epoch
    assert max(abs(a - b) for a, b in zip(fast, plain, strict=True)) < 0.02
