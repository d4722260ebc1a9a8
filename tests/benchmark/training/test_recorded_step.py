"""Recorded training steps, with a recorder that works on a CPU: every state equals that of executed steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.training import session
from stampbench.benchmark.training.cuda_graphs import make_recorder
from stampbench.benchmark.training.recorded_step import RecordedStep
from stampbench.benchmark.training.training_step import TrainingStep
from stampbench.models.architecture import Filter
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import TINY, CountingTrainer, check_conformance

MakeTrainer = Callable[..., CountingTrainer]


class FakeGraphs:
    """Replays a step by executing it, if nothing that a CUDA graph holds fixed has changed since it was recorded."""

    device = torch.device("cpu")

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.prepared, self.recorded, self.replayed = fails, 0, 0, 0
        self.trainer: CountingTrainer | None = None

    def prepare(self, action: Callable[[], Tensor]) -> Tensor:
        self.prepared += 1
        return action()

    def record(self, action: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recorded += 1
        if self.fails:
            try:
                raise RuntimeError("operation not permitted\nwhen stream is capturing")
            finally:
                raise ValueError("as at the end of a graph that has failed")
        held, result = self._held(), torch.zeros(())

        def replay() -> Tensor:
            assert self._held() == held, "a recording is replayed after what it holds has changed"
            self.replayed += 1
            return result.copy_(action())  # a graph overwrites the loss, too

        return replay

    def _held(self) -> object:
        """Return the addresses of weights, statistics and moments, and the numbers that go into kernels."""
        if self.trainer is None:
            return None
        found = self.trainer.session
        moments = [value for state in found.optimiser.state.values() for value in state.values()]
        tensors = [*found.model.parameters(), *found.model.buffers(), *moments]
        rates = [group["lr"] for group in found.optimiser.param_groups]
        return [each.data_ptr() for each in tensors], rates, found.model.dropout_probabilities(), found.loss.state()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, make_trainer: MakeTrainer) -> Callable[..., tuple[Any, FakeGraphs]]:
    """Function that makes a trainer whose steps a fake recorder records."""

    def make(run: Run, folder: Path, *, fails: bool = False) -> tuple[CountingTrainer, FakeGraphs]:
        graphs = FakeGraphs(fails)
        with monkeypatch.context() as patch:
            patch.setattr(session, "make_recorder", lambda compute, precision: graphs)
            graphs.trainer = make_trainer(run, folder)
        return graphs.trainer, graphs

    return make


def states(trainer: CountingTrainer) -> Iterator[Tensor]:
    """Yield weights, statistics of BatchNorm, moments, and the random state."""
    yield from trainer.model.state_dict().values()
    for state in trainer.session.optimiser.state.values():
        yield from state.values()
    yield torch.get_rng_state()


def assert_same(found: CountingTrainer, expected: CountingTrainer, ended: Sequence[Tensor]) -> None:
    """Check that two runs are the same; `ended` are the states with which the expected one ended."""
    assert all(torch.equal(a, b) for a, b in zip(states(found), ended, strict=True))
    assert found.pruned == expected.pruned
    assert [row.training_loss for row in found.trajectory] == [row.training_loss for row in expected.trajectory]


def test_a_run_ends_bit_for_bit_like_an_executed_one_and_is_recorded_anew_after_every_prune(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, recorded: Callable[..., Any], tmp_path: Path
) -> None:
    """Four images in batches of three: a full batch and a smaller one in each epoch."""
    run = make_run("stamp_plus", protocol_settings=("batch_size=3",), filters_per_step=3, recovery_epochs=3)
    assert len(run.split.training) == 4
    complete = make_trainer(run, tmp_path / "complete")
    run.resolved.strategy.fit(complete)
    expected = list(states(complete))
    trainer, graphs = recorded(run, tmp_path / "recorded")
    run.resolved.strategy.fit(trainer)
    assert_same(trainer, complete, expected)
    prunes = len({row.step for row in trainer.pruned})
    assert prunes > 2
    # One epoch before the first prune is executed; of three epochs after each, one is executed and two are replayed.
    assert (graphs.prepared, graphs.recorded, graphs.replayed) == (1 + prunes, prunes, 2 * prunes)


def test_a_recording_that_fails_is_reported_once_and_the_run_is_the_same(
    make_run: Callable[..., Run],
    make_trainer: MakeTrainer,
    recorded: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_run("stamp_plus", filters_per_step=3, recovery_epochs=2)
    complete = make_trainer(run, tmp_path / "complete")
    run.resolved.strategy.fit(complete)
    expected = list(states(complete))
    trainer, graphs = recorded(run, tmp_path / "recorded", fails=True)
    run.resolved.strategy.fit(trainer)
    assert_same(trainer, complete, expected)
    assert (graphs.recorded, graphs.replayed) == (1, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "test: slower, because steps cannot be recorded as CUDA graphs: RuntimeError: operation not permitted when "
        "stream is capturing"
    )


@pytest.mark.parametrize(("protocol", "expected"), [("quick", 3), ("nnunet", 6)])
def test_steps_are_recorded_anew_when_learning_rate_dropout_or_loss_change(
    make_run: Callable[..., Run],
    make_trainer: MakeTrainer,
    recorded: Callable[..., Any],
    tmp_path: Path,
    protocol: str,
    expected: int,
) -> None:
    """Under `nnunet`, SGD's learning rate changes with every epoch."""
    run = make_run("stamp_plus", protocol=protocol, protocol_settings=("max_epochs=8", "batch_size=1"))
    trainer, graphs = recorded(run, tmp_path / "recorded")
    other = make_trainer(run, tmp_path / "executed")
    for each in (trainer, other):
        torch.manual_seed(1)
        each.train(2)
        each.set_dropout({"conv1": 0.3})
        each.train(2)
        each.regularise("channel_distance", 0.1)
        each.train(2)
    assert graphs.recorded == graphs.prepared == expected
    assert graphs.replayed > expected
    first, second = states(trainer), states(other)
    assert all(torch.equal(a, b) for a, b in zip(list(first)[:-1], list(second)[:-1], strict=True))


def test_gathered_norms_are_those_of_executed_steps(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, recorded: Callable[..., Any], tmp_path: Path
) -> None:
    run = make_run("stamp", importance="l2_gathered", protocol_settings=("batch_size=1",))
    trainer, graphs = recorded(run, tmp_path / "recorded")
    other = make_trainer(run, tmp_path / "executed")
    scores = []
    for each in (trainer, other):
        torch.manual_seed(0)
        each.train(3, gather=True)
        scores.append(each.score("l2_gathered"))
    assert scores[0] == scores[1]
    before = graphs.replayed
    assert before > 0
    trainer.train(1, gather=True)
    assert graphs.replayed == before
    trainer.train(1)
    assert graphs.replayed > before


@pytest.mark.parametrize("name", ["distill", "stamp_plus"])
def test_strategies_conform_with_recorded_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    graphs = FakeGraphs()
    monkeypatch.setattr(session, "make_recorder", lambda compute, precision: graphs)
    check_conformance(STRATEGIES[name].load()(), 2, tmp_path, tiny=TINY | {"recovery_epochs": 3})
    assert graphs.replayed > 0


def test_small_training_sets_are_one_full_batch(
    make_run: Callable[..., Run], recorded: Callable[..., Any], tmp_path: Path
) -> None:
    trainer, graphs = recorded(make_run("standard", protocol_settings=("batch_size=16",)), tmp_path)
    trainer.train(4)
    assert (graphs.prepared, graphs.recorded, graphs.replayed) == (1, 1, 3)
    trainer.prune([Filter("conv1", 0)])
    trainer.train(1)
    assert (graphs.prepared, graphs.recorded) == (2, 1)


def test_interruption_of_a_recording_passes() -> None:
    class Interrupted(FakeGraphs):
        def record(self, action: Callable[[], Tensor]) -> Callable[[], Tensor]:
            raise KeyboardInterrupt

    weight = nn.Parameter(torch.zeros(1))
    step = TrainingStep(torch.optim.Adam([weight]), lambda x, y: (x * weight).sum())
    recorded_step = RecordedStep(step, Interrupted(), 1, lambda: None)
    batch = torch.ones(1), torch.ones(1)
    recorded_step(*batch)
    with pytest.raises(KeyboardInterrupt):
        recorded_step(*batch)
    assert not step.optimiser.param_groups[0]["capturable"]


def test_only_fast_kernels_on_a_gpu_are_recorded() -> None:
    assert make_recorder(ComputeSettings(device="cpu"), "fp32") is None
