"""Channelwise dropout policies: none, one probability for all layers, or targeted dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from stampbench.strategies.base import Parent, ParentRun, Trainer
from stampbench.strategies.errors import StrategyError

DropoutPolicy = Literal["none", "fixed", "matched", "targeted"]
"""How dropout probabilities are chosen.

`targeted` is Algorithm 1 of Dinsdale et al. 2022. The other two have one probability for all layers: `fixed` takes the
paper's value, `matched` the mean of a STAMP+ run on the same data.
"""

FIXED = 0.037
"""Fixed probability: the mean targeted probability over the training of STAMP+ (Dinsdale et al. 2022, §3.2)."""

_BEFORE_RANKING = 0.05
"""Factor of the base probability before the first ranking; 0.1 · 0.05 = 0.005 as in STAMP's code."""

_MATCHED = "matched"


def dropout_parents(policy: DropoutPolicy, hyperparameters: Mapping[str, Any]) -> dict[str, Parent]:
    """Return the STAMP+ run that `matched` takes its probability from; no run for other policies.

    Args:
        policy: The policy.
        hyperparameters: Hyperparameters of the STAMP+ run.
    """
    return {_MATCHED: Parent("stamp_plus", hyperparameters)} if policy == "matched" else {}


def begin_dropout(trainer: Trainer, policy: DropoutPolicy, base: float) -> None:
    """Set the dropout probabilities that apply until the first ranking.

    Args:
        trainer: The trainer of the run.
        policy: `none` leaves dropout unchanged; the others set every layer.
        base: The largest targeted probability b; used by `targeted` only.

    Raises:
        StrategyError: when the parent run of `matched` recorded no dropout.
    """
    if policy == "none":
        return
    if policy == "matched":
        probability = mean_dropout(trainer.parent(_MATCHED))
    else:
        probability = FIXED if policy == "fixed" else base * _BEFORE_RANKING
    trainer.set_dropout(dict.fromkeys(trainer.architecture.layers, probability))


def mean_dropout(run: ParentRun) -> float:
    """Return the mean dropout probability of a run over its epochs and layers.

    Raises:
        StrategyError: when the run recorded no dropout.
    """
    total, before = 0.0, 0
    for checkpoint in run.checkpoints:
        if checkpoint.dropout is None:
            raise StrategyError(
                "dropout=matched: the record of the parent run is older than the column 'dropout' of trajectories; "
                "run the parent again"
            )
        total += checkpoint.dropout * (checkpoint.epoch - before)
        before = checkpoint.epoch
    return total / before
