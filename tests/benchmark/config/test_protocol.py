"""Named training protocols."""

from __future__ import annotations

import pytest

from stampbench.benchmark.config.protocol import NNUNET, PAPER, Protocol
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.errors import UserError


def test_paper_protocol_has_the_published_values() -> None:
    """Dinsdale et al. 2022, §2.5.1."""
    assert (PAPER.learning_rate, PAPER.batch_size, PAPER.patience, PAPER.finetune_patience) == (0.01, 16, 25, 10)
    assert (PAPER.initialisation, PAPER.loss, PAPER.folds) == ("xavier", "dice", 5)
    (stamp_plus,) = resolve_strategies(["stamp_plus"], PAPER, {})
    values = stamp_plus.strategy.model_dump()
    assert (values["recovery_epochs"], values["filters_per_step"], values["f"]) == (5, 1, 4)
    assert (values["base_dropout"], values["dropout"], values["importance"]) == (0.1, "targeted", "l2")


def test_nnunet_protocol_has_the_published_values() -> None:
    """Isensee et al. 2021, and version 2 of the code."""
    assert (NNUNET.optimiser, NNUNET.momentum, NNUNET.weight_decay) == ("sgd", 0.99, 3e-5)
    assert (NNUNET.learning_rate, NNUNET.polynomial_power, NNUNET.gradient_norm) == (0.01, 0.9, 12.0)
    assert (NNUNET.batch_size, NNUNET.max_epochs, NNUNET.patience) == (2, 1000, 1000)
    assert (NNUNET.loss, NNUNET.augmentation, NNUNET.initialisation) == ("dice_ce_foreground", "mirror", "default")


def test_fields_of_nnunet_are_not_stored_for_older_protocols() -> None:
    """The ids of runs are hashes over the stored form."""
    younger = {"optimiser", "momentum", "weight_decay", "polynomial_power", "gradient_norm"}
    assert not younger & PAPER.model_dump(mode="json").keys()
    assert younger - {"momentum"} <= NNUNET.model_dump(mode="json").keys()
    assert Protocol.model_validate(NNUNET.model_dump(mode="json")) == NNUNET.model_copy(update={"summary": ""})


def test_two_schedules_are_refused() -> None:
    with pytest.raises(UserError, match="plateau_factor and polynomial_power are mutually exclusive"):
        resolve_protocol("nnunet", {"plateau_factor": 0.5})
