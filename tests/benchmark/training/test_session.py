"""A network in training: gathered norms, activation checkpointing, bf16 and distillation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.conformance import Bench
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure import layer_latency
from stampbench.benchmark.training.session import Teacher
from stampbench.models.architecture import Filter
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import CountingTrainer

MakeTrainer = Callable[..., CountingTrainer]


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_gathered_norms_are_mean_l2_norms_of_relu_outputs_in_the_last_epoch(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path, kernels: str
) -> None:
    settings = ComputeSettings(device="cpu", kernels=kernels)  # type: ignore[arg-type]
    trainer = make_trainer(make_run("stamp", importance="l2_gathered"), tmp_path, settings)
    trainer.train(1)
    with pytest.raises(StrategyError, match="l2_gathered"):
        trainer.score("l2_gathered")
    norms: dict[str, list[Tensor]] = {}

    def record_norms(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            norms.setdefault(name, []).append(output.detach().flatten(2).double().norm(dim=2))

        return hook

    handles = [each.register_forward_hook(record_norms(name)) for name, each in trainer.model.activations().items()]
    trainer.train(2, gather=True)
    for handle in handles:
        handle.remove()
    images = len(trainer.session.data.training.pixels)
    for name, scores in trainer.score("l2_gathered").items():
        assert scores == pytest.approx(torch.cat(norms[name])[-images:].mean(0).tolist(), rel=1e-5)
    assert trainer.charges.ranking_passes == 0
    trainer.prune([Filter("conv1", 0)])
    with pytest.raises(StrategyError, match="l2_gathered"):
        trainer.score("l2_gathered")


def test_a_learning_rate_of_the_strategy_takes_the_place_of_the_protocols(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    own = make_run("standard", learning_rate=0.002)
    plain = make_run("standard")
    by_protocol = plain.spec.protocol.model_copy(update={"learning_rate": 0.002})
    assert own.spec.group == plain.spec.group
    runs = (own, plain, plain._replace(spec=plain.spec.model_copy(update={"protocol": by_protocol})))
    trainers = [make_trainer(run, tmp_path / str(number)) for number, run in enumerate(runs)]
    for trainer in trainers:
        trainer.train(2)
    first, second, third = ([weights.tolist() for weights in each.model.parameters()] for each in trainers)
    assert first == third != second


def test_the_table_of_layer_latency_is_measured_once_and_survives_a_restart(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("stamp", cost="latency")
    trainer = make_trainer(run, tmp_path)
    monkeypatch.setattr(layer_latency, "_milliseconds", lambda *_: 1.0)
    assert set(trainer.savings("latency").values()) == {0.0}
    trainer.save()

    def refuse(*_: object) -> float:
        raise AssertionError("measured again")

    monkeypatch.setattr(layer_latency, "_milliseconds", refuse)
    resumed = make_trainer(run, tmp_path)
    assert resumed.savings("latency") == trainer.savings("latency")  # from the journal, then from the table
    assert resumed.savings("latency") == trainer.savings("latency")


@pytest.mark.parametrize("strategy", ["standard_d", "pocket_resnet"])
def test_activation_checkpointing_gives_the_same_weights(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, compute: ComputeSettings, tmp_path: Path, strategy: str
) -> None:
    run = make_run(strategy, depth=4)
    weights = []
    for save_memory in (False, True):
        settings = compute.model_copy(update={"save_memory": save_memory})
        trainer = make_trainer(run, tmp_path / str(save_memory), settings)
        trainer.train(2)
        weights.append(list(trainer.model.state_dict().values()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_bf16_reaches_a_similar_loss_and_is_another_group(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    runs = [make_run("standard", f=4, depth=2, protocol_settings=("max_epochs=3", *more))
            for more in ((), ("precision=bf16",))]  # fmt: skip
    assert runs[0].spec.group != runs[1].spec.group
    losses = []
    for number, run in enumerate(runs):
        trainer = make_trainer(run, tmp_path / str(number))
        trainer.train(5)
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
        losses.append(trainer.session.training_loss)
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], abs=0.05)


def test_distillation_loss_is_the_formula_written_out(tmp_path: Path) -> None:
    """(1 − w) · loss + w · T² · Σ_c t (log t − log s), mean over pixels, t and s softmaxes at temperature T."""
    entry = STRATEGIES["distill"]
    bench = Bench(entry.load()(weight=0.3, temperature=4.0), 2, tmp_path)
    trainer = bench.train("run")
    assert trainer.session.loss.teacher == Teacher("teacher", 0.3, 4.0)
    pixels, labels, _ = trainer.session.data.training
    trainer.model.eval()
    with torch.no_grad():
        loss = float(trainer.session.loss.of_batch(trainer.model, pixels, labels))
        student = (trainer.model(pixels).double() / 4).softmax(1)
        teacher = (trainer.session.parents["teacher"].model(pixels).double() / 4).softmax(1)
        divergence = (teacher * (teacher.log() - student.log())).sum(1).mean()
        plain = trainer.session.loss.of_labels(trainer.model(pixels), labels)
    assert loss == pytest.approx(float(0.7 * plain + 0.3 * 16 * divergence), rel=1e-4)
    assert not trainer.session.parents["teacher"].model.training
