"""Training protocols: everything of training that is the same for all strategies."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from stampbench.datasets.split import SplitKind

Augmentation = Literal["none", "flip", "mirror", "monai"]
"""Names of augmentations; see `stampbench.benchmark.training.augmentation`."""
Postprocessing = Literal["none", "largest_component"]
"""Names of post-processing of test predictions."""

_MOST = 1_000_000
"""Largest batch size and number of epochs that a suite or record may state."""
_YOUNGER: dict[str, Any] = {
    "average_hausdorff": False,
    "split": "held_out",
    "optimiser": "adam",
    "momentum": 0.99,
    "weight_decay": 0.0,
    "polynomial_power": None,
    "gradient_norm": None,
}
"""Fields that are younger than published runs: the stored form omits them at these defaults, so that ids hold."""


class Protocol(BaseModel, frozen=True, extra="forbid"):
    """Optimiser, batch size, loss, patience and folds; results of different protocols never share a table.

    `hyperparameters` are values that the protocol sets for strategies that have them; they become part of a run's
    strategy, not of its protocol.
    """

    name: str = Field(description="name of the protocol")
    summary: str = Field("", exclude=True, description="one line for lists")
    learning_rate: float = Field(gt=0, allow_inf_nan=False, description="the optimiser's learning rate")
    optimiser: Literal["adam", "sgd"] = Field("adam", description="Adam, or SGD with Nesterov momentum")
    momentum: float = Field(0.99, gt=0, lt=1, description="Nesterov momentum of SGD; Adam has its own")
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False, description="L2 penalty of the optimiser")
    polynomial_power: float | None = Field(
        None, gt=0, le=10, description="power of the learning rate's decay over max_epochs; null: no such decay"
    )
    gradient_norm: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="largest L2 norm of all gradients together; null: no limit"
    )
    batch_size: int = Field(ge=1, le=_MOST, description="images or patches per training step")
    initialisation: Literal["xavier", "default"] = Field(description="weight initialisation: Xavier or PyTorch's")
    loss: Literal["dice", "dice_ce", "dice_ce_foreground", "dice_l2"] = Field(description="training loss")
    plateau_factor: float | None = Field(
        None, gt=0, lt=1, description="factor of the learning rate on a plateau; null: constant learning rate"
    )
    plateau_patience: int = Field(
        5, ge=0, le=_MOST, description="validations without a better loss that make a plateau"
    )
    plateau_minimum: float = Field(1e-6, ge=0, allow_inf_nan=False, description="lowest learning rate on plateaus")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="precision of convolutions in training; weights stay fp32; fp16 needs a GPU"
    )
    augmentation: Augmentation = Field(
        "none", description="augmentation of training images: none, flip, mirror or monai"
    )
    postprocessing: Postprocessing = Field("none", description="post-processing of test predictions")
    average_hausdorff: bool = Field(False, description="whether test cases get PocketNet's average Hausdorff distance")
    patience: int = Field(
        ge=1, le=_MOST, description="epochs without a better validation loss until training has converged"
    )
    finetune_patience: int = Field(ge=1, le=_MOST, description="the same after pruning a converged network")
    max_epochs: int = Field(ge=1, le=_MOST, description="most epochs of one training to convergence")
    folds: int = Field(ge=2, le=1000, description="folds of the training set, or of all cases with cross-validation")
    split: SplitKind = Field(
        "held_out",
        description="held_out: the same test cases in every fold; cross_validation: each case is tested in one fold",
    )
    hyperparameters: dict[str, Any] = Field(
        default_factory=dict, exclude=True, description="hyperparameters that the protocol sets"
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.plateau_factor is not None and self.polynomial_power is not None:
            raise ValueError("plateau_factor and polynomial_power are mutually exclusive; set only one of them")
        return self

    @model_serializer(mode="wrap")
    def _stored(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stored: dict[str, Any] = serialise(self)
        return {key: value for key, value in stored.items() if key not in _YOUNGER or value != _YOUNGER[key]}


PAPER = Protocol(
    name="paper",
    summary="Dinsdale et al. 2022, §2.5.1: Adam 0.01, batch 16, soft Dice, patience 25, one filter at a time",
    learning_rate=0.01,
    batch_size=16,
    initialisation="xavier",
    loss="dice",
    patience=25,
    finetune_patience=10,
    # The paper gives no limit; this one ends a training that never converges.
    max_epochs=1000,
    folds=5,
)

QUICK = PAPER.model_copy(
    update={
        "name": "quick",
        "summary": "the paper's method shortened to minutes: Dice + cross-entropy, batch 4, 8 filters a step, R = 3",
        "learning_rate": 0.005,
        "batch_size": 4,
        # With soft Dice alone, networks learn next to nothing in fifty epochs of so few steps.
        "loss": "dice_ce",
        # Epochs of train and prune from f=4, depth 4: 1 + 44 · 3.
        "max_epochs": 133,
        "hyperparameters": {"filters_per_step": 8, "recovery_epochs": 3, "every_steps": 5},
    }
)

CPU = PAPER.model_copy(
    update={
        "name": "cpu",
        "summary": "the paper's method shortened for two CPU cores: Dice + cross-entropy, batch 2, 24 filters a step",
        "learning_rate": 0.005,
        # Hippocampus, 25 images: batches of 2 reach in 26 epochs a Dice that batches of 4 do not reach in 111.
        "batch_size": 2,
        "loss": "dice_ce",
        # Epochs of train and prune from f=4, depth 4: 1 + 15 · 5; the paper's schedule takes 1 + 347 · 5.
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
        # The authors train 50 epochs, each a quarter of one here, and keep the best checkpoint by validation loss.
        "patience": 50,
        "max_epochs": 50,
        "postprocessing": "largest_component",
        "average_hausdorff": True,
    }
)

NNUNET = PAPER.model_copy(
    update={
        "name": "nnunet",
        "summary": "Isensee et al. 2021: SGD 0.01 with polynomial decay, Dice + cross-entropy, mirroring, 1000 epochs",
        "batch_size": 2,
        "optimiser": "sgd",
        "momentum": 0.99,
        "weight_decay": 3e-5,
        "polynomial_power": 0.9,
        "gradient_norm": 12.0,
        "initialisation": "default",
        "loss": "dice_ce_foreground",
        "augmentation": "mirror",
        # Trainings to convergence end after the last epoch only.
        "patience": 1000,
        "max_epochs": 1000,
    }
)

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, CPU, QUICK, POCKETNET, NNUNET)}
EPOCH_BUDGET = ("patience", "finetune_patience", "max_epochs")
"""Fields that say how long a strategy trains."""

SETTABLE = tuple(name for name in Protocol.model_fields if name not in ("name", "summary", "hyperparameters"))
"""Fields that a user can set."""
