"""The conformance kit: what every strategy has to keep, ours or a stranger's.

    from stampbench.strategies.testing import check_conformance

    @pytest.mark.parametrize("spatial_dims", [2, 3])
    def test_my_idea_conforms(spatial_dims, tmp_path):
        check_conformance(MyIdea(), spatial_dims, tmp_path)

It trains on tiny phantoms through the real harness, hence it alone among the strategies imports `benchmark`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from stampbench.benchmark.config.resolve import ResolvedStrategy, resolve_dataset, resolve_protocol
from stampbench.benchmark.environment.compute_settings import Compute
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.parents import read_parent
from stampbench.benchmark.execution.runner import execute, plan_run, prepare_cases, with_parents
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training.fold_data import load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.sampling import example
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.dataset import open_dataset
from stampbench.models.serialization import load_model, save_model
from stampbench.strategies.base import Strategy

_CPU = Compute()
TINY: dict[str, Any] = {
    "f": 2,
    "depth": 1,
    "filters_per_step": 5,
    "recovery_epochs": 1,
    "every_steps": 2,
    "rank_every": 1,
}
"""What the kit sets where a strategy has it, so that a run takes seconds."""


def check_conformance(strategy: Strategy, spatial_dims: int, folder: Path, compute: Compute = _CPU) -> None:
    """Run all checks on one strategy.

    It validates its hyperparameters; it runs and ends in a valid architecture with a selected network; it
    never grows nor leaves an empty layer; every epoch is charged; the same seed gives the same weights; and
    stopped again and again it ends bit for bit like a run that was not.

    Raises:
        AssertionError: it does not keep one of these, named in the message.
    """
    check_hyperparameters(strategy)
    bench = Bench(strategy, spatial_dims, folder, compute)
    whole = bench.train("whole")
    check_result(whole, bench)
    check_trajectory(whole)
    again = bench.train("again")
    _assert_same(again, whole, "the same seed gives another result")
    parts = bench.train("parts", stop_after=3)
    _assert_same(parts, whole, "a run that was stopped and resumed ends differently")


def check_hyperparameters(strategy: Strategy) -> None:
    """Unknown names and wrong types are refused, and all of it survives JSON, which run ids are made of."""
    cls = type(strategy)
    with pytest.raises(ValidationError):
        cls.model_validate({"no_such_hyperparameter": 1})
    numbers = [name for name, field in cls.model_fields.items() if field.annotation in (int, float)]
    for name in numbers:
        with pytest.raises(ValidationError):
            cls.model_validate({name: "no number"})
    assert cls.model_validate_json(strategy.model_dump_json()) == strategy, "hyperparameters do not survive JSON"


class CountingTrainer(RunTrainer):
    """Counts the epochs it really trains; stops as Ctrl-C would after so many calls that are not replayed."""

    trained = 0
    calls_left: int | None = None

    def _epoch(self) -> None:
        super()._epoch()
        self.trained += 1

    def _once(self, call: str, action: Callable[[], Any]) -> Any:
        if self.calls_left is not None and not self.replaying:
            if self.calls_left == 0:
                raise KeyboardInterrupt
            self.calls_left -= 1
        return super()._once(call, action)


class Bench:
    """A tiny dataset and protocol on which one strategy is trained, its sources first."""

    def __init__(self, strategy: Strategy, spatial_dims: int, folder: Path, compute: Compute = _CPU) -> None:
        fields = type(strategy).model_fields
        tiny = {name: value for name, value in TINY.items() if name in fields}
        self.strategy = type(strategy).model_validate(strategy.model_dump() | tiny)
        protocol = resolve_protocol("quick", ["folds=2", "batch_size=2", "max_epochs=2"])
        dataset = open_dataset(resolve_dataset(f"phantom{spatial_dims}d:size=16,cases=8"), cache=folder / "cache")
        choice = ResolvedStrategy("under_test", self.strategy, self.strategy.model_dump(mode="json"))
        self.run = plan_run(choice, dataset, protocol, n_train=None, fold=0, seed=0)
        self._folder, self._progress = folder, Progress("test", 1, quiet=True)
        prepared = prepare_cases([self.run], self._progress)
        store, self._compute = RunStore(folder / "sources"), compute
        for source in with_parents([self.run])[:-1]:
            execute(source, prepared, store, compute, self._progress)
        self._parents = {name: read_parent(each.spec, store, compute) for name, each in self.run.parents.items()}
        self._data = load_fold(self.run.split, prepared, dataset, compute.device)

    def train(self, name: str, stop_after: int | None = None) -> CountingTrainer:
        """Train to the end; with `stop_after`, in a new trainer after every so many calls."""
        trained = 0
        while True:
            resume = ResumeFile(self._folder / name)
            trainer = CountingTrainer(
                self.run.spec,
                self.run.architecture,
                self._data,
                self._compute,
                self._progress,
                resume,
                self._parents,
            )
            trainer.calls_left = stop_after
            try:
                self.strategy.fit(trainer)
            except KeyboardInterrupt:
                trainer.save()
                trained += trainer.trained
                continue
            trainer.trained += trained
            return trainer

    def save_and_load(self, trainer: RunTrainer) -> None:
        """The selected network goes through a file and comes back the same."""
        model = trainer.selected_model()
        save_model(model, self._folder / "model")
        loaded, images = load_model(self._folder / "model"), example(self._data)
        loaded.kernels = model.kernels
        assert torch.equal(loaded(images), model(images)), "the selected network does not survive saving"


def check_result(trainer: CountingTrainer, bench: Bench) -> None:
    """A selected network that can be saved, no empty layer, and books that agree with what was done."""
    assert trainer.trajectory, "no checkpoint was made"
    assert trainer.selected is not None, "no checkpoint was selected"
    bench.save_and_load(trainer)
    assert all(width >= 1 for width in trainer.architecture.widths), "a layer is empty"
    assert trainer.epochs == trainer.trained + trainer.parent_epochs, "epochs are not charged as trained"
    sources = sum(source.epochs for source in bench._parents.values())
    assert trainer.parent_epochs == sources, "what a source cost is not charged"


def check_trajectory(trainer: RunTrainer) -> None:
    """Parameters never grow, epochs never fall, every width is at least one."""
    sizes = [row["parameters"] for row in trainer.trajectory]
    assert sizes == sorted(sizes, reverse=True), "the network grows"
    epochs = [row["epoch"] for row in trainer.trajectory]
    assert epochs == sorted(epochs), "charged epochs fall"
    assert all(int(width) >= 1 for row in trainer.trajectory for width in row["widths"].split()), "a layer is empty"


def _assert_same(found: RunTrainer, expected: RunTrainer, message: str) -> None:
    for mine, other in ((found.trajectory, expected.trajectory), (found.pruned, expected.pruned)):
        assert _without_times(mine) == _without_times(other), message
    assert found.architecture == expected.architecture, message
    assert found.selected is not None
    assert expected.selected is not None
    assert found.selected.step == expected.selected.step, message
    _assert_same_weights(found.model.state_dict(), expected.model.state_dict(), message)
    _assert_same_weights(found.selected.weights, expected.selected.weights, message)


def _assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor], message: str) -> None:
    assert found.keys() == expected.keys(), message
    assert all(torch.equal(found[name], expected[name]) for name in expected), message


def _without_times(rows: list[dict[str, Any]]) -> list[str]:
    # as text, so that a NaN equals itself
    return [repr({key: value for key, value in row.items() if key != "seconds"}) for row in rows]
