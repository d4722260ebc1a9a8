"""Dry run of a strategy: its epochs and ranking passes, counted without training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.low_precision import check_low_precision
from stampbench.models.architecture import Filter
from stampbench.models.model import Architecture
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.strategies.base import ParentCheckpoint, ParentRun, Strategy, Validation
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.importance import IMPORTANCES, Scores

_MOST_EPOCHS = 2_000_000
"""More than any built-in strategy takes under the paper's protocol: 347 fine-tunings of at most 1000 epochs."""


class DryRunTrainer:
    """A `Trainer` that only counts.

    Its validation loss keeps falling and its Dice rising, so training to convergence takes the protocol's most
    epochs, and the counts are upper bounds. All filters score the same: which filters go is not realistic, how many
    is.

    Attributes:
        epochs: the strategy's own epochs.
        parent_epochs: epochs of its parent runs.
        ranking_passes: passes that score filters.
        checkpoints: checkpoints so far.
        limited: whether the strategy asked for the protocol's most epochs of a training to convergence.
    """

    def __init__(
        self, architecture: Architecture, protocol: Protocol, parents: Mapping[str, DryRunTrainer] | None = None
    ) -> None:
        self.architecture: Architecture = architecture
        self.checkpoints: list[ParentCheckpoint] = []
        self.rng = np.random.default_rng(0)
        self.patience, self.finetune_patience = protocol.patience, protocol.finetune_patience
        self._max_epochs, self.limited = protocol.max_epochs, False
        self.epochs = self.ranking_passes = self.parent_epochs = 0
        self._loss, self._dropout = 1.0, 0.0
        self._parents, self._charged = parents or {}, set[str]()
        self._kept = architecture
        self._gathered = False

    @property
    def max_epochs(self) -> int:
        self.limited = True
        return self._max_epochs

    def train(self, epochs: int, *, gather: bool = False) -> float:
        self.epochs += epochs
        self._gathered = gather
        if self.epochs > _MOST_EPOCHS:
            raise StrategyError(f"does not end: {self.epochs} epochs with a validation loss that keeps falling")
        return 1 / (1 + self.epochs)

    def validate(self) -> Validation:
        self._loss = math.nextafter(self._loss, 0)
        return Validation(self._loss, 1 - 1 / (1 + self.epochs))

    def score(self, importance: str) -> Scores:
        if importance == "l2_gathered" and not self._gathered:
            raise StrategyError("importance 'l2_gathered' needs norms from the last epoch, which gathered none")
        self.ranking_passes += IMPORTANCES[importance].passes
        return {layer: [1.0] * width for layer, width in self.architecture.layers.items()}

    def savings(self, cost: str) -> dict[str, float]:
        return dict.fromkeys(self.architecture.layers, 1.0)

    def input_sensitivity(self) -> float:
        self.ranking_passes += 1
        return 1.0

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        assert not isinstance(self.architecture, PocketNetArchitecture)
        self.architecture = self.architecture.without(filters)
        self._gathered = False

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        if not probabilities:
            raise StrategyError("sets dropout, but no layer of the network has any")
        self._dropout = sum(probabilities.values()) / len(probabilities)

    def keep(self) -> None:
        self._kept = self.architecture

    def restore(self) -> None:
        self.architecture = self._kept

    def checkpoint(self, *, candidate: bool = True) -> None:
        charged = self.parent_epochs + self.epochs
        self.checkpoints.append(ParentCheckpoint(len(self.checkpoints), charged, self.architecture, self._dropout))

    def reset(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def parent(self, name: str) -> ParentRun:
        parent = self._parents[name]
        if name not in self._charged:
            self._charged.add(name)
            self.parent_epochs += parent.parent_epochs + parent.epochs
        return ParentRun(tuple(parent.checkpoints), len(parent.checkpoints) - 1)

    def adopt(self, name: str) -> None:
        self.architecture = self.parent(name).checkpoints[-1].architecture

    def average_weights(self, decay: float) -> None: ...

    def distill(self, name: str, weight: float, temperature: float) -> None:
        self.parent(name)

    def compute_in(self, precision: Literal["int8", "bf16"]) -> None:
        check_low_precision(precision)

    def regularise(self, name: str, weight: float) -> None:
        pass


def dry_run(
    strategy: Strategy, architecture: Architecture, protocol: Protocol, parents: Mapping[str, DryRunTrainer]
) -> DryRunTrainer:
    """Follow a strategy from `architecture` to its end, counting.

    Args:
        strategy: the strategy.
        architecture: where it starts.
        protocol: the protocol.
        parents: dry runs of its parent runs, by the strategy's names for them.

    Raises:
        StrategyError: when the strategy fails or does not end.
        UserError: when this machine does not compute in the precision that the strategy asks for.
    """
    key = (type(strategy), strategy.model_dump_json(), architecture, protocol.model_dump_json(), *parents.values())
    if key not in _FINISHED:
        trainer = DryRunTrainer(architecture, protocol, parents)
        try:
            strategy.fit(trainer)  # type: ignore[arg-type]  # max_epochs is a property here, and nobody sets it
        except (StrategyError, UserError):
            raise
        except Exception as error:  # a plug-in may fail in any way
            raise StrategyError(f"{type(strategy).__name__} fails: {type(error).__name__}: {error}") from error
        _FINISHED[key] = trainer
    return _FINISHED[key]


def trained_elsewhere(architecture: Architecture, protocol: Protocol) -> DryRunTrainer:
    """Return the dry run of a network that was trained elsewhere: no epochs, and one checkpoint."""
    key = (architecture, protocol.model_dump_json())
    if key not in _ELSEWHERE:
        trainer = DryRunTrainer(architecture, protocol)
        trainer.checkpoint()
        _ELSEWHERE[key] = trainer
    return _ELSEWHERE[key]


_ELSEWHERE: dict[tuple[Architecture, str], DryRunTrainer] = {}
_FINISHED: dict[tuple[object, ...], DryRunTrainer] = {}
"""Dry runs by their arguments: folds and seeds share one."""
