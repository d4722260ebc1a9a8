"""Conformance tests that authors run on their strategies, with the real harness on tiny phantoms.

Users import them as `stampbench.strategies.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.resolve import resolve_protocol
from stampbench.benchmark.config.resolved import ResolvedNetwork, ResolvedStrategy
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.parents import read_parent
from stampbench.benchmark.execution.run import Draw, plan_run, prepare_cases, with_parents
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training.fold_data import load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.sampling import example
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.dataset import open_dataset
from stampbench.models.weights.serialization import load_model, save_model
from stampbench.strategies.base import Strategy

_CPU = ComputeSettings(device="cpu")
TINY: dict[str, Any] = {
    "f": 2,
    "depth": 1,
    "filters_per_step": 5,
    "recovery_epochs": 1,
    "every_steps": 2,
    "rank_every": 1,
}
"""Hyperparameters that are set by default if a strategy has them."""


def check_conformance(
    strategy: Strategy,
    spatial_dims: int,
    folder: Path,
    compute: ComputeSettings = _CPU,
    network: ResolvedNetwork | None = None,
    tiny: Mapping[str, Any] = TINY,
) -> None:
    """Run all checks on one strategy.

    Hyperparameters are validated; the strategy ends with a valid architecture and a selected network; it never grows
    the network nor empties a layer; every epoch is charged; the same seed gives the same weights; and a run that is
    stopped again and again ends bit for bit like an uninterrupted one.

    Args:
        strategy: the strategy.
        spatial_dims: 2 or 3.
        folder: an empty folder for files.
        compute: compute settings.
        network: the network to start from; None: the strategy's own.
        tiny: hyperparameters that are set if the strategy has them, so that a run takes seconds.

    Raises:
        AssertionError: when a check fails; the message names it.
    """
    check_hyperparameters(strategy)
    bench = Bench(strategy, spatial_dims, folder, compute, network, tiny)
    complete = bench.train("complete")
    check_result(complete, bench)
    check_trajectory(complete)
    repeated = bench.train("repeated")
    _assert_same(repeated, complete, "the same seed gives another result")
    resumed = bench.train("resumed", stop_after=3)
    _assert_same(resumed, complete, "a run that was stopped and resumed ends differently")


def check_hyperparameters(strategy: Strategy) -> None:
    """Check that unknown names and wrong types are refused, and that all values survive JSON, which ids hash."""
    cls = type(strategy)
    with pytest.raises(ValidationError):
        cls.model_validate({"no_such_hyperparameter": 1})
    numbers = [name for name, field in cls.model_fields.items() if field.annotation in (int, float)]
    for name in numbers:
        with pytest.raises(ValidationError):
            cls.model_validate({name: "not a number"})
    assert cls.model_validate_json(strategy.model_dump_json()) == strategy, "hyperparameters do not survive JSON"


class CountingTrainer(RunTrainer):
    """Counts the epochs that it trains; stops as Ctrl-C would after a number of calls that are not replayed."""

    trained = 0
    calls_left: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        train_epoch = self.session.train_epoch

        def counted() -> float:
            loss = train_epoch()
            self.trained += 1
            return loss

        self.session.train_epoch = counted  # type: ignore[method-assign]

    def _once(self, call: str, action: Callable[[], Any]) -> Any:
        if self.calls_left is not None and not self.replaying:
            if self.calls_left == 0:
                raise KeyboardInterrupt
            self.calls_left -= 1
        return super()._once(call, action)


class Bench:
    """A tiny dataset and protocol on which one strategy is trained, after its parent runs."""

    def __init__(
        self,
        strategy: Strategy,
        spatial_dims: int,
        folder: Path,
        compute: ComputeSettings = _CPU,
        network: ResolvedNetwork | None = None,
        tiny: Mapping[str, Any] = TINY,
    ) -> None:
        fields = type(strategy).model_fields
        own = {name: value for name, value in tiny.items() if name in fields}
        self.strategy = type(strategy).model_validate(strategy.model_dump() | own)
        protocol = resolve_protocol("quick", {"folds": 2, "batch_size": 2, "max_epochs": 2})
        dataset = open_dataset(find_definition(f"phantom{spatial_dims}d:size=16,cases=8"), cache=folder / "cache")
        resolved = ResolvedStrategy("under_test", self.strategy, self.strategy.model_dump(mode="json"))
        self.run = plan_run(resolved.on(network), dataset, protocol, Draw(None, fold=0, seed=0))
        self._folder, self._progress = folder, Progress("test", 1, quiet=True)
        prepared = prepare_cases([self.run], self._progress)
        store, self._compute = RunStore(folder / "parents"), compute
        place = Workplace(store, compute, self._progress)
        for parent in with_parents([self.run])[:-1]:
            execute(parent, prepared, place)
        self.parents = {name: read_parent(each.spec, store, compute) for name, each in self.run.parents.items()}
        self._data = load_fold(self.run.split, prepared, dataset, compute.torch_device)

    def train(self, name: str, stop_after: int | None = None) -> CountingTrainer:
        """Train to the end; with `stop_after`, resume in a new trainer after every so many calls."""
        trained = 0
        while True:
            trainer = CountingTrainer(
                self.run.spec,
                self.run.architecture,
                self._data,
                self._compute,
                self._progress,
                ResumeFile(self._folder / name),
                self.parents,
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

    def check_saving(self, trainer: RunTrainer) -> None:
        """Check that the selected network computes the same after it was saved and loaded."""
        model = trainer.selected_model()
        save_model(model, self._folder / "model")
        images = example(self._data)
        loaded = load_model(self._folder / "model").to(images.device)
        loaded.kernels = model.kernels
        assert torch.equal(loaded(images), model(images)), "the selected network does not survive saving"


def check_result(trainer: CountingTrainer, bench: Bench) -> None:
    """Check the selected network, that no layer is empty, and that charges agree with what was done."""
    assert trainer.trajectory, "no checkpoint was made"
    assert trainer.selected is not None, "no checkpoint was selected"
    bench.check_saving(trainer)
    assert all(width >= 1 for width in trainer.architecture.widths), "a layer is empty"
    charges = trainer.charges
    assert charges.epochs == trainer.trained + charges.parent_epochs, "epochs are not charged as trained"
    expected = sum(parent.epochs for parent in bench.parents.values())
    assert charges.parent_epochs == expected, "the epochs of a parent run are not charged"


def check_trajectory(trainer: RunTrainer) -> None:
    """Check that parameters never grow, epochs never fall, and every width is at least one."""
    sizes = [row.parameters for row in trainer.trajectory]
    assert sizes == sorted(sizes, reverse=True), "the network grows"
    epochs = [row.epoch for row in trainer.trajectory]
    assert epochs == sorted(epochs), "charged epochs fall"
    assert all(int(width) >= 1 for row in trainer.trajectory for width in row.widths.split()), "a layer is empty"


def _assert_same(found: RunTrainer, expected: RunTrainer, message: str) -> None:
    for own, other in ((found.trajectory, expected.trajectory), (found.pruned, expected.pruned)):
        assert _without_times(own) == _without_times(other), message
    assert found.architecture == expected.architecture, message
    assert found.selected is not None
    assert expected.selected is not None
    assert found.selected.step == expected.selected.step, message
    _assert_same_weights(found.model.state_dict(), expected.model.state_dict(), message)
    _assert_same_weights(found.selected.weights, expected.selected.weights, message)


def _assert_same_weights(found: dict[str, Tensor], expected: dict[str, Tensor], message: str) -> None:
    assert found.keys() == expected.keys(), message
    # Weights that were selected before a run was resumed are on the CPU, wherever it trains.
    assert all(torch.equal(found[name].cpu(), expected[name].cpu()) for name in expected), message


def _without_times(rows: Sequence[BaseModel]) -> list[str]:
    return [repr(row.model_dump(exclude={"seconds"})) for row in rows]  # as text, in which NaN equals NaN
