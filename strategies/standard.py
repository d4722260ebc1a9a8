"""Networks trained to convergence and never pruned: doubling, flat, and PocketNet's."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from stampbench.models.network import Architecture
from stampbench.models.pocketnet import Block, PocketNetArchitecture
from stampbench.strategies.base import Shape, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.dropout import DropoutPolicy, begin_dropout
from stampbench.strategies.importance import ImportanceName
from stampbench.strategies.selection import rank


class Standard(Strategy):
    """A U-Net trained to convergence with the protocol's patience (Dinsdale et al. 2022, §2.5.1).

    With targeted dropout it is ranked every `rank_every` epochs, and still never pruned (SU+, §3.2).
    """

    shape: Shape = Field("doubling", description="filters per level: f·2^level, or f everywhere")
    dropout: DropoutPolicy = Field("none", description="channelwise dropout during training")
    base_dropout: float = Field(0.1, ge=0, lt=1, description="b, the largest targeted probability")
    importance: ImportanceName = Field("l2", description="what targeted dropout ranks filters by")
    rank_every: int = Field(5, ge=1, description="epochs between rankings for targeted dropout")

    @field_validator("importance")
    @classmethod
    def _nothing_is_gathered(cls, name: str) -> str:
        if name == "l2_gathered":
            raise ValueError("l2_gathered is for strategies that train and prune")
        return name

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        return self.unet(self.shape, spatial_dims, in_channels, out_channels)

    def fit(self, trainer: Trainer) -> None:
        def retarget(epoch: int) -> None:
            if self.dropout == "targeted" and epoch % self.rank_every == 0:
                trainer.set_dropout(rank(trainer, self.importance).dropout(self.base_dropout))

        begin_dropout(trainer, self.dropout, self.base_dropout)
        train_to_convergence(trainer, trainer.patience, retarget)
        trainer.checkpoint()


class Pocket(Strategy):
    """One of PocketNet's networks trained to convergence (Celaya et al. 2022, §2)."""

    f: int = Field(16, ge=1, description="features on the first level")
    convs_per_level: Literal[2] = Field(2, description="convolutions on every level; PocketNet has two")
    block: Block = Field("unet", description="unet, resnet or densenet")
    pocket: bool = Field(True, description="the same width on every level; else doubled")
    construction: Literal["table1", "lits2021"] = Field(
        "table1",
        description="the network of the paper's Table 1, or of the code of Table 2 (depth 3 unless set)",
    )

    @model_validator(mode="before")
    @classmethod
    def _lits2021_has_depth_3(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("construction") == "lits2021":
            return {"depth": 3, **values}
        return values

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
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

    def fit(self, trainer: Trainer) -> None:
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
