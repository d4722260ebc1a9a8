"""Strategies that train to convergence without pruning: standard and flat U-Nets, and PocketNet's networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from stampbench.models.model import Architecture
from stampbench.models.pocketnet import Block, PocketNetArchitecture
from stampbench.strategies.base import Parent, Shape, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.dropout import DropoutPolicy, begin_dropout, dropout_parents
from stampbench.strategies.importance import ImportanceName
from stampbench.strategies.selection import rank


class Standard(Strategy):
    """Train a U-Net to convergence with the protocol's patience (Dinsdale et al. 2022, §2.5.1).

    With targeted dropout, the filters are ranked every `rank_every` epochs but never pruned (SU+, §3.2).
    """

    shape: Shape = Field("doubling", description="filters on each level: f·2^level (doubling) or f (flat)")
    dropout: DropoutPolicy = Field("none", description="channelwise dropout during training")
    base_dropout: float = Field(0.1, ge=0, lt=1, description="b, the largest targeted dropout probability")
    importance: ImportanceName = Field("l2", description="score that targeted dropout ranks filters by")
    rank_every: int = Field(5, ge=1, description="epochs between two rankings for targeted dropout")

    @field_validator("importance")
    @classmethod
    def _nothing_is_gathered(cls, name: str) -> str:
        if name == "l2_gathered":
            raise ValueError("l2_gathered is available only for strategies that prune; choose another importance")
        return name

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the U-Net with `f` filters on the first level, doubling or flat."""
        return self.unet(self.shape, spatial_dims, in_channels, out_channels)

    def fixed_network(self) -> str | None:
        """Return that a shape is one of U-Nets."""
        return None if self.shape == "doubling" else f"shape={self.shape} is a U-Net's"

    def parents(self) -> Mapping[str, Parent]:
        """Return the run that `dropout=matched` takes its probability from."""
        settings = {**self.shared_hyperparameters(), "base_dropout": self.base_dropout, "importance": self.importance}
        return dropout_parents(self.dropout, settings)

    def fit(self, trainer: Trainer) -> None:
        """Train to convergence and make one checkpoint."""

        def update_dropout(epoch: int) -> None:
            if self.dropout == "targeted" and epoch % self.rank_every == 0:
                trainer.set_dropout(rank(trainer, self.importance).dropout(self.base_dropout))

        begin_dropout(trainer, self.dropout, self.base_dropout)
        train_to_convergence(trainer, trainer.patience, update_dropout)
        trainer.checkpoint()


class Pocket(Strategy):
    """Train one of PocketNet's networks to convergence (Celaya et al. 2022, §2)."""

    f: int = Field(16, ge=1, le=1024, description="features on the first level")
    convs_per_level: Literal[2] = Field(2, description="convolutions on every level; always two")
    block: Block = Field("unet", description="type of block: unet, resnet or densenet")
    pocket: bool = Field(True, description="same number of features on every level instead of doubling")
    construction: Literal["table1", "lits2021"] = Field(
        "table1",
        description="network of the paper's Table 1, or of the code behind Table 2 (default depth 3)",
    )

    @model_validator(mode="before")
    @classmethod
    def _lits2021_has_depth_3(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("construction") == "lits2021":
            return {"depth": 3, **values}
        return values

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the PocketNet architecture."""
        return PocketNetArchitecture(
            spatial_dims=spatial_dims,  # type: ignore[arg-type]
            in_channels=in_channels,
            out_channels=out_channels,
            depth=self.depth,
            f=self.f,
            block=self.block,
            pocket=self.pocket,
            construction=self.construction,
        )

    def fixed_network(self) -> str | None:
        """Return that the strategy is the training of PocketNet's networks."""
        return "it trains PocketNet's networks; take the strategy 'standard'"

    def fit(self, trainer: Trainer) -> None:
        """Train to convergence and make one checkpoint."""
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
