"""The kit finds the faults it is there for."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from stampbench.models.architecture import Filter
from stampbench.strategies.base import Parent, Strategy, Trainer
from stampbench.strategies.testing import check_conformance

_COUNTER = itertools.count()


class Forgetful(Strategy):
    """No checkpoint."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)


class Growing(Strategy):
    """A wider network after a narrower one."""

    def fit(self, trainer: Trainer) -> None:
        whole = trainer.architecture
        trainer.prune([Filter("conv1", 0)])
        trainer.train(1)
        trainer.checkpoint()
        trainer.reset(whole)
        trainer.checkpoint()


class Moody(Strategy):
    """Does something else each time it is run."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1 + next(_COUNTER) % 2)
        trainer.checkpoint()


class Stateful(Strategy):
    """Remembers outside of the trainer, so that a replay goes another way."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()
        trainer.prune([Filter("conv3", next(_COUNTER) % 4)])
        trainer.train(1)
        trainer.checkpoint()


class Watchful(Strategy):
    """Looks at what a replay does not show: how much there is to replay."""

    def fit(self, trainer: Trainer) -> None:
        replaying = getattr(trainer, "replaying", False)
        trainer.train(1)
        trainer.checkpoint()
        for _ in range(3):
            trainer.prune([Filter("conv4", 0)])
            trainer.train(1)
        trainer.prune([Filter("conv3", int(replaying))])
        trainer.checkpoint()


class Thief(Strategy):
    """Trains behind the trainer's back."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        getattr(getattr(trainer, "session", None), "train_epoch", int)()
        trainer.checkpoint()
        if hasattr(trainer, "trained"):
            trainer.charges.epochs -= 1  # type: ignore[attr-defined]


class Freeloader(Strategy):
    """Has another strategy run first, and does not charge it."""

    def parents(self) -> Mapping[str, Parent]:
        return {"other": Parent("standard", {"f": 2, "depth": 1})}

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()


class Fine(Strategy):
    """Nothing wrong."""

    def fit(self, trainer: Trainer) -> None:
        trainer.train(1)
        trainer.checkpoint()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Forgetful, "no checkpoint was made"),
        (Growing, "the network grows"),
        (Moody, "the same seed gives another result"),
        (Stateful, "the same seed gives another result"),
        (Watchful, "stopped and resumed ends differently"),
        (Thief, "epochs are not charged as trained"),
        (Freeloader, "the epochs of a parent run are not charged"),
    ],
)
def test_a_fault_is_named(strategy: type[Strategy], message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check_conformance(strategy(), 2, tmp_path)


def test_a_strategy_without_fault_passes(tmp_path: Path) -> None:
    check_conformance(Fine(), 2, tmp_path)
