"""The conformance tests detect the errors of strategies that they are meant to detect."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from stampbench.models.architecture import Filter
from stampbench.strategies.base import Parent, Strategy, Trainer
from stampbench.strategies.testing import check_conformance

_COUNTER = itertools.count()


class WithoutCheckpoint(Strategy):
    """Makes no checkpoint."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)


class Growing(Strategy):
    """Trains a wider network after a narrower one."""

    def fit(self, trainer: Trainer) -> None:
        initial = trainer.architecture
        trainer.prune([Filter("conv1", 0)])
        trainer.train(1)
        trainer.checkpoint()
        trainer.reset(initial)
        trainer.checkpoint()


class NotReproducible(Strategy):
    """Trains another number of epochs each time it is run."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1 + next(_COUNTER) % 2)
        trainer.checkpoint()


class Stateful(Strategy):
    """Keeps state outside of the trainer, so that a replay makes other calls."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()
        trainer.prune([Filter("conv3", next(_COUNTER) % 4)])
        trainer.train(1)
        trainer.checkpoint()


class DependsOnReplay(Strategy):
    """Prunes another filter if the trainer is replaying the calls of an earlier process."""

    def fit(self, trainer: Trainer) -> None:
        replaying = getattr(trainer, "replaying", False)
        trainer.train(1)
        trainer.checkpoint()
        for _ in range(3):
            trainer.prune([Filter("conv4", 0)])
            trainer.train(1)
        trainer.prune([Filter("conv3", int(replaying))])
        trainer.checkpoint()


class UnchargedEpoch(Strategy):
    """Trains an epoch without the trainer, and does not charge it."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        getattr(getattr(trainer, "session", None), "train_epoch", int)()
        trainer.checkpoint()
        if hasattr(trainer, "trained"):
            trainer.charges.epochs -= 1  # type: ignore[attr-defined]


class UnchargedParent(Strategy):
    """Has a parent run that it does not charge."""

    def parents(self) -> Mapping[str, Parent]:
        return {"other": Parent("standard", {"f": 2, "depth": 1})}

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()


class Valid(Strategy):
    """Has no error."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (WithoutCheckpoint, "no checkpoint was made"),
        (Growing, "the network grows"),
        (NotReproducible, "the same seed gives another result"),
        (Stateful, "the same seed gives another result"),
        (DependsOnReplay, "stopped and resumed ends differently"),
        (UnchargedEpoch, "epochs are not charged as trained"),
        (UnchargedParent, "the epochs of a parent run are not charged"),
    ],
)
def test_error_of_a_strategy_is_detected(strategy: type[Strategy], message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check_conformance(strategy(), 2, tmp_path)


def test_valid_strategy_passes(tmp_path: Path) -> None:
    check_conformance(Valid(), 2, tmp_path)
