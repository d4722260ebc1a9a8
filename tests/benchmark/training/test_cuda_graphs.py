"""CUDA graphs of training steps, on a GPU: what `test_recorded_step.py` shows with a recorder on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.training import session
from stampbench.benchmark.training.cuda_graphs import CudaGraphs, make_recorder
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import TINY, CountingTrainer, check_conformance

pytestmark = pytest.mark.gpu

MakeTrainer = Callable[..., CountingTrainer]
FAST, PLAIN = (ComputeSettings(device="cuda", kernels=kernels) for kernels in ("fast", "plain"))
EXACT = ComputeSettings(device="cuda", deterministic=True)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Configure the process as a run with `--deterministic` does."""
    configure_process(EXACT)
    yield
    configure_process(ComputeSettings(device="cpu"))


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, make_trainer: MakeTrainer) -> MakeTrainer:
    """Function that makes a trainer whose steps are executed, not recorded."""

    def make(*arguments: object) -> CountingTrainer:
        with monkeypatch.context() as patch:
            patch.setattr(session, "make_recorder", lambda compute, precision: None)
            return make_trainer(*arguments)

    return make


@pytest.mark.parametrize("dataset", ["phantom2d:size=32,cases=12", "phantom3d:size=16,cases=12"])
@pytest.mark.parametrize(("strategy", "protocol"), [("standard_d", "quick"), ("stamp_plus", "nnunet")])
@pytest.mark.usefixtures("deterministic")
def test_replayed_steps_end_bit_for_bit_like_executed_ones(
    make_run: Callable[..., Run],
    make_trainer: MakeTrainer,
    executed: MakeTrainer,
    tmp_path: Path,
    dataset: str,
    strategy: str,
    protocol: str,
) -> None:
    run = make_run(strategy, dataset=dataset, f=4, depth=2, protocol=protocol, protocol_settings=("max_epochs=9",))
    ended = []
    for make, name in ((make_trainer, "replayed"), (executed, "executed")):
        trainer = make(run, tmp_path / name, EXACT)
        trainer.set_dropout({"conv1": 0.2, "conv2": 0.1})
        trainer.train(6)
        assert (trainer.session._step._replay is not None) == (name == "replayed")
        moments = [value for state in trainer.session.optimiser.state.values() for value in state.values()]
        ended.append([*trainer.model.state_dict().values(), *moments, torch.cuda.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*ended, strict=True))


@pytest.mark.parametrize(("name", "spatial_dims"), [("stamp_plus", 3), ("distill", 2), ("sauron", 3)])
@pytest.mark.usefixtures("deterministic")
def test_resumed_runs_end_bit_for_bit_like_uninterrupted_ones(tmp_path: Path, name: str, spatial_dims: int) -> None:
    check_conformance(STRATEGIES[name].load()(), spatial_dims, tmp_path, EXACT, tiny=TINY | {"recovery_epochs": 3})


@pytest.mark.usefixtures("deterministic")
def test_the_first_ten_prunes_are_those_of_executed_steps(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, executed: MakeTrainer, tmp_path: Path
) -> None:
    """Without deterministic algorithms, even two runs of the same kernels diverge after a few epochs."""
    run = make_run(
        "stamp_plus", "phantom3d:size=16,cases=12", f=4, depth=2, filters_per_step=1, recovery_epochs=2,
        protocol_settings=("batch_size=3",),
    )  # fmt: skip

    class EnoughError(Exception):
        pass

    pruned = []
    for make, name in ((make_trainer, "replayed"), (executed, "executed")):
        trainer = make(run, tmp_path / name, EXACT)
        prune = trainer._prune

        def stop_after_ten(
            *arguments: object, trainer: CountingTrainer = trainer, prune: Callable[..., None] = prune
        ) -> None:
            prune(*arguments)
            if len(trainer.pruned) == 10:
                raise EnoughError

        trainer._prune = stop_after_ten  # type: ignore[method-assign]
        with pytest.raises(EnoughError):
            run.resolved.strategy.fit(trainer)
        pruned.append([(row.layer, row.filter) for row in trainer.pruned])
    assert pruned[0] == pruned[1]


def test_what_cannot_be_recorded_is_executed_with_a_note_and_the_same_random_numbers(
    make_run: Callable[..., Run],
    make_trainer: MakeTrainer,
    executed: MakeTrainer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, states = make_run("standard_d", f=4, depth=2), []
    for make, name in ((make_trainer, "recorded"), (executed, "executed")):
        trainer = make(run, tmp_path / name, FAST)
        of_labels = trainer.session.loss.of_labels

        def waiting(
            logits: Tensor, labels: Tensor, of_labels: Callable[[Tensor, Tensor], Tensor] = of_labels
        ) -> Tensor:
            loss = of_labels(logits, labels)
            float(loss.detach())  # waits for the GPU, which a recording must not
            return loss

        trainer.session.loss.of_labels = waiting  # type: ignore[method-assign]
        trainer.train(4)
        states.append((torch.cuda.get_rng_state(), trainer.session.training_loss))
    assert capsys.readouterr().err.count("steps cannot be recorded as CUDA graphs") == 1
    assert torch.equal(states[0][0], states[1][0])
    assert states[0][1] == pytest.approx(states[1][1], abs=1e-3)
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def test_memory_of_earlier_recordings_is_released() -> None:
    recorder = make_recorder(FAST, "fp32")
    assert isinstance(recorder, CudaGraphs)
    weights = torch.randn(1024, 1024, device="cuda")
    reserved = []
    for _ in range(8):
        recorder.prepare(lambda: (weights @ weights).sum())
        replay = recorder.record(lambda: (weights @ weights).sum())
        assert float(replay()) == pytest.approx(float((weights @ weights).sum()), rel=1e-3)
        del replay
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] <= reserved[2]


def test_graphs_are_for_fast_kernels_without_loss_scaling_and_checkpointing() -> None:
    assert make_recorder(PLAIN, "fp32") is None
    assert make_recorder(FAST, "fp16") is None
    assert make_recorder(FAST.model_copy(update={"save_memory": True}), "bf16") is None
    assert make_recorder(FAST, "bf16") is not None
