"""Template of a new strategy: a file with the strategy, and a file with its test."""

from __future__ import annotations

from pathlib import Path

from stampbench.benchmark.config.template import write_template
from stampbench.strategies.registry import STRATEGIES

_STRATEGY = '''"""{name}: describe the idea in one line."""

from pydantic import Field

from stampbench.strategies.base import Strategy, Trainer
from stampbench.strategies.ranking import Ranking


class {cls}(Strategy):
    """The line that 'stampbench list strategies' shows, with the paper and section (Author et al. year, §)."""

    # Hyperparameters are typed fields; `--set recovery_epochs=3` changes them, and a wrong type is an error.
    # `f`, `depth` and `convs_per_level` are inherited; they define the U-Net that training starts from.
    recovery_epochs: int = Field(2, ge=1, description="epochs after every prune")
    filters_per_step: int = Field(8, ge=1, description="filters removed at a time")

    def fit(self, trainer: Trainer) -> None:
        """Define the schedule; the harness trains, validates, charges, selects, resumes and evaluates.

        Base decisions on return values of the trainer, `trainer.architecture` and `trainer.rng` only, never on
        `random` or the clock: to resume an interrupted run, this method is called again, and finished calls return
        what they returned before.
        """
        trainer.train(epochs=1)
        trainer.checkpoint()  # validates; the checkpoint with the best validation Dice is selected
        while trainer.architecture.prunable():
            scores = trainer.score("l2")  # a score per filter of every layer; see strategies/importance.py
            ranking = Ranking(scores)
            trainer.prune(ranking.lowest(self.filters_per_step))
            trainer.train(epochs=self.recovery_epochs)
            trainer.checkpoint()
'''

_TEST = '''"""Conformance of {cls}."""

import pytest
from {name} import {cls}

from stampbench.strategies.testing import check_conformance


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_{name}_conforms(spatial_dims, tmp_path):
    check_conformance({cls}(), spatial_dims, tmp_path)
'''


def write_strategy(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into `folder` and return their paths.

    Raises:
        UserError: when the name is not a snake_case identifier or is taken, or a file exists or cannot be written.
    """
    taken = {known: entry.origin for known, entry in STRATEGIES.items()}
    return write_template("strategy", name, taken, folder, (_STRATEGY, _TEST))
