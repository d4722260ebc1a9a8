"""Channelwise dropout during training: none, the same everywhere, or targeted."""

from __future__ import annotations

from typing import Literal

from stampbench.strategies.base import Trainer

DropoutPolicy = Literal["none", "fixed", "targeted"]

FIXED = 0.037
"""The mean targeted probability over STAMP+'s training (Dinsdale et al. 2022, §3.2)."""

_BEFORE_RANKING = 0.05
"""Share of the base probability before the first ranking; 0.1 · 0.05 = 0.005 in STAMP's code."""


def begin_dropout(trainer: Trainer, policy: DropoutPolicy, base: float) -> None:
    """Set the dropout that holds until the first ranking."""
    if policy != "none":
        probability = FIXED if policy == "fixed" else base * _BEFORE_RANKING
        trainer.set_dropout(dict.fromkeys(trainer.architecture.layers, probability))
