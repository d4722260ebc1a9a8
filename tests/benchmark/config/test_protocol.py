"""Named training protocols."""

from __future__ import annotations

from stampbench.benchmark.config.protocol import PAPER
from stampbench.benchmark.config.resolve import (
    resolve_strategies,
)


def test_paper_protocol_has_the_published_values() -> None:
    """Dinsdale et al. 2022, §2.5.1."""
    assert (PAPER.learning_rate, PAPER.batch_size, PAPER.patience, PAPER.finetune_patience) == (0.01, 16, 25, 10)
    assert (PAPER.initialisation, PAPER.loss, PAPER.folds) == ("xavier", "dice", 5)
    (stamp_plus,) = resolve_strategies(["stamp_plus"], PAPER, {})
    values = stamp_plus.strategy.model_dump()
    assert (values["recovery_epochs"], values["filters_per_step"], values["f"]) == (5, 1, 4)
    assert (values["base_dropout"], values["dropout"], values["importance"]) == (0.1, "targeted", "l2")
