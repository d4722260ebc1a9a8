"""Channelwise dropout policies: none, a fixed probability for all layers, or targeted dropout."""

from __future__ import annotations

from typing import Literal

from stampbench.strategies.base import Trainer

DropoutPolicy = Literal["none", "fixed", "targeted"]
"""How dropout probabilities are chosen; `targeted` is Algorithm 1 of Dinsdale et al. 2022."""

FIXED = 0.037
"""Fixed probability: the mean targeted probability over the training of STAMP+ (Dinsdale et al. 2022, §3.2)."""

_BEFORE_RANKING = 0.05
"""Factor of the base probability before the first ranking; 0.1 · 0.05 = 0.005 as in STAMP's code."""


def begin_dropout(trainer: Trainer, policy: DropoutPolicy, base: float) -> None:
    """Set the dropout probabilities that apply until the first ranking.

    Args:
        trainer: The trainer of the run.
        policy: `none` leaves dropout unchanged; `fixed` and `targeted` set every layer.
        base: The largest targeted probability b; used by `targeted` only.
    """
    if policy != "none":
        probability = FIXED if policy == "fixed" else base * _BEFORE_RANKING
        trainer.set_dropout(dict.fromkeys(trainer.architecture.layers, probability))
