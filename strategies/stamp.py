"""STAMP and STAMP+: prune while the network trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stampbench.models.architecture import UNetArchitecture
from stampbench.strategies.base import Strategy, Trainer
from stampbench.strategies.dropout import DropoutPolicy, begin_dropout, update_dropout
from stampbench.strategies.ranking import Ranking


class Stamp(Strategy):
    """Remove the least important filter every few epochs while the network trains (Dinsdale et al. 2022, Fig. 1).

    Ends when only `min_filters` are left in every layer (§2.3).
    """

    recovery_epochs: int = Field(5, ge=1, description="R, epochs after every prune")
    filters_per_step: int = Field(1, ge=1, description="filters removed at a time")
    min_filters: int = Field(1, ge=1, description="filters that stay in every layer")
    importance: Literal["l2", "l1"] = Field("l2", description="what a filter is ranked by")
    dropout: DropoutPolicy = Field("none", description="channelwise dropout during training")
    base_dropout: float = Field(0.1, ge=0, lt=1, description="b, the largest targeted probability")
    recompute: bool = Field(False, description="rank again after a prune before dropout is set")
    optimiser: Literal["new", "carry"] = Field("new", description="Adam after a prune: new, or moments carried")
    prune_upconvs: bool = Field(False, description="prune transposed convolutions too")

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> UNetArchitecture:
        return UNetArchitecture.doubling(
            spatial_dims,
            in_channels,
            out_channels,
            f=self.f,
            depth=self.depth,
            prune_upconvs=self.prune_upconvs,
        )

    def fit(self, trainer: Trainer) -> None:
        begin_dropout(trainer, self.dropout, self.base_dropout)
        trainer.train(epochs=1)
        trainer.checkpoint()
        while trainer.architecture.prunable(self.min_filters):
            ranking = Ranking.of(trainer.score(self.importance))
            trainer.prune(ranking.lowest(self.filters_per_step, self.min_filters), self.optimiser)
            if self.recompute:
                ranking = Ranking.of(trainer.score(self.importance))
            update_dropout(trainer, self.dropout, self.base_dropout, ranking)
            trainer.train(epochs=self.recovery_epochs)
            trainer.checkpoint()
