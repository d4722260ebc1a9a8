"""Everything of training that is the same for all strategies."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Augmentation = Literal["none", "flip", "monai"]
"""See `stampbench.benchmark.training.augmentation`."""


class Protocol(BaseModel, frozen=True, extra="forbid"):
    """Optimiser, batch, loss, patience and folds; results of different protocols never share a table.

    `hyperparameters` are what the protocol sets for strategies that have them; they end up in a run's
    strategy, not in its protocol.
    """

    name: str
    summary: str = Field("", exclude=True)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    initialisation: Literal["xavier", "default"]
    loss: Literal["dice", "dice_ce", "dice_l2"]
    plateau_factor: float | None = Field(
        None, gt=0, lt=1, description="learning rate × this on a plateau; None: constant"
    )
    plateau_patience: int = Field(5, ge=0, description="validations without a better loss that make a plateau")
    plateau_minimum: float = Field(1e-6, ge=0)
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="of convolutions in training; weights stay fp32; fp16 needs a GPU"
    )
    augmentation: Augmentation = Field("none", description="of training images; the papers' is none, or flip")
    postprocessing: Literal["none", "largest_component"] = "none"
    patience: int = Field(ge=1)
    finetune_patience: int = Field(ge=1)
    max_epochs: int = Field(ge=1)
    folds: int = Field(ge=2)
    hyperparameters: dict[str, Any] = Field(default_factory=dict, exclude=True)


PAPER = Protocol(
    name="paper",
    summary="Dinsdale et al. 2022, §2.5.1: Adam 0.01, batch 16, soft Dice, patience 25, one filter at a time",
    learning_rate=0.01,
    batch_size=16,
    initialisation="xavier",
    loss="dice",
    patience=25,
    finetune_patience=10,
    # The paper names no limit; this one ends a training that never converges.
    max_epochs=1000,
    folds=5,
)

QUICK = PAPER.model_copy(
    update={
        "name": "quick",
        "summary": "the paper's method shortened to minutes: Dice + cross-entropy, batch 4, 8 filters a step, R = 3",
        "learning_rate": 0.005,
        "batch_size": 4,
        # With soft Dice alone the first fifty epochs of so few steps bring next to nothing.
        "loss": "dice_ce",
        # What train and prune takes from f=4, depth 4: 1 + 44 · 3 epochs.
        "max_epochs": 133,
        "hyperparameters": {"filters_per_step": 8, "recovery_epochs": 3, "every_steps": 5},
    }
)

CPU = PAPER.model_copy(
    update={
        "name": "cpu",
        "summary": "the paper's method at the size of two cores: Dice + cross-entropy, batch 2, 24 filters a step",
        "learning_rate": 0.005,
        # Hippocampus, 25 images: batches of 2 reach by epoch 26 what batches of 4 do not in 111.
        "batch_size": 2,
        "loss": "dice_ce",
        # What train and prune takes from f=4, depth 4: 1 + 15 · 5 epochs, where the paper's takes 1 + 347 · 5.
        "max_epochs": 76,
        "hyperparameters": {"filters_per_step": 24},
    }
)

POCKETNET = PAPER.model_copy(
    update={
        "name": "pocketnet",
        "summary": "Celaya et al. 2022, §2: Adam 0.001 halved on plateaus, L2 Dice, batch 4, largest component",
        "learning_rate": 0.001,
        "batch_size": 4,
        "loss": "dice_l2",
        "plateau_factor": 0.5,
        # The authors train 50 epochs and keep the best by validation loss; an epoch of theirs is a quarter of ours.
        "patience": 50,
        "max_epochs": 50,
        "postprocessing": "largest_component",
    }
)

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, CPU, QUICK, POCKETNET)}
SETTABLE = tuple(name for name in Protocol.model_fields if name not in ("name", "summary", "hyperparameters"))
"""What `--protocol-set` can change."""
