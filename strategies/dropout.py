"""Channelwise dropout during training: none, the same everywhere, or targeted."""

from __future__ import annotations

from typing import Literal

from stampbench.models.architecture import UNetArchitecture
from stampbench.strategies.base import Trainer
from stampbench.strategies.ranking import Ranking

DropoutPolicy = Literal["none", "fixed", "targeted"]

FIXED = 0.037
"""The mean targeted probability over STAMP+'s training (Dinsdale et al. 2022, §3.2)."""

_BEFORE_RANKING = 0.05
"""Share of the base probability before the first ranking; 0.1 · 0.05 = 0.005 in STAMP's code."""


def begin_dropout(trainer: Trainer, policy: DropoutPolicy, base: float) -> None:
    """Set the dropout that holds until the first ranking."""
    if policy == "fixed":
        trainer.set_dropout(_everywhere(trainer.architecture, FIXED))
    elif policy == "targeted":
        trainer.set_dropout(_everywhere(trainer.architecture, base * _BEFORE_RANKING))


def update_dropout(trainer: Trainer, policy: DropoutPolicy, base: float, ranking: Ranking) -> None:
    """Set the dropout that follows from a ranking; a fixed one stays."""
    if policy == "targeted":
        trainer.set_dropout(ranking.dropout(base))


def _everywhere(architecture: UNetArchitecture, probability: float) -> dict[str, float]:
    return dict.fromkeys(architecture.layers, probability)
