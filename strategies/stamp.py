"""Pruning during training: STAMP, STAMP+, their random variants, and pruning of a converged network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from stampbench.models.model import Architecture, parameter_count
from stampbench.strategies.base import Parent, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.dropout import DropoutPolicy, begin_dropout, dropout_parents
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.importance import ImportanceName
from stampbench.strategies.ranking import Ranking, filters_to_multiple
from stampbench.strategies.selection import SELECTIONS, Chosen, CostName, LargestBy, rank


class TrainAndPrune(Strategy):
    """Remove filters every few epochs while the network trains (Dinsdale et al. 2022, Fig. 1).

    The strategy ends when only `min_filters` filters remain in every layer (§2.3), or earlier at
    `stop_parameters` or `stop_fraction`. PruneFinetune (§2.5.1) is this strategy with `pretrained`, which starts
    from a converged standard network, and `recovery="convergence"`, which fine-tunes after every prune until
    the validation loss stops improving.
    """

    prunes = True
    younger: ClassVar[Mapping[str, Any]] = {"dropout_ranks": "before_prune", "cost": "none", "width_multiple": 1}

    recovery_epochs: int = Field(5, ge=1, description="R, training epochs after every prune")
    filters_per_step: int = Field(1, ge=1, description="filters removed per pruning step")
    min_filters: int = Field(1, ge=1, description="filters that remain in every layer")
    stop_parameters: int | None = Field(None, ge=1, description="stop at this many parameters or fewer")
    stop_fraction: float | None = Field(
        None, gt=0, lt=1, description="stop at this fraction of the initial parameters or less"
    )
    select_parameters: int | None = Field(
        None, ge=1, description="select only among checkpoints with at most this many parameters"
    )
    selection: str = Field("lowest", description="how the filters to remove are chosen")
    largest_by: LargestBy = Field("channels", description="how random_largest measures the size of a layer")
    importance: ImportanceName = Field("l2", description="score that filters are ranked by")
    cost: CostName = Field("none", description="saving that a filter's importance is divided by")
    width_multiple: int = Field(
        1, ge=1, le=64, description="filters go together, as many as bring a layer to the next multiple of this"
    )
    dropout: DropoutPolicy = Field("none", description="channelwise dropout during training")
    base_dropout: float = Field(0.1, ge=0, lt=1, description="b, the largest targeted dropout probability")
    recompute: bool = Field(False, description="rank again after a prune, before dropout is set")
    dropout_ranks: Literal["before_prune", "remaining"] = Field(
        "before_prune",
        description="filters whose positions set targeted dropout: all that were ranked, or those that are left",
    )
    optimiser: Literal["new", "carry"] = Field("new", description="Adam after a prune: new, or with carried moments")
    prune_upconvs: bool = Field(False, description="prune transposed convolutions too")
    pretrained: bool = Field(False, description="start from a converged standard network")
    recovery: Literal["epochs", "convergence"] = Field(
        "epochs", description="training after a prune: recovery_epochs, or fine-tuning to convergence"
    )

    @field_validator("selection")
    @classmethod
    def _selection_exists(cls, name: str) -> str:
        if name not in SELECTIONS:
            raise ValueError(f"unknown selection; known selections are {', '.join(SELECTIONS)}")
        return name

    @model_validator(mode="after")
    def _one_way_to_stop(self) -> Self:
        if self.stop_parameters is not None and self.stop_fraction is not None:
            raise ValueError("stop_parameters and stop_fraction are mutually exclusive; set only one of them")
        if self.dropout == "targeted" and self.selection in ("random_largest", "random_uniform"):
            raise ValueError(
                f"dropout=targeted needs a ranking, which selection={self.selection} does not compute; "
                "choose another selection or another dropout"
            )
        return self

    @model_validator(mode="after")
    def _cost_needs_importance(self) -> Self:
        for name, is_set in {"cost": self.cost != "none", "width_multiple": self.width_multiple > 1}.items():
            if is_set and self.selection != "lowest":
                raise ValueError(f"{name} belongs to selection=lowest, not to selection={self.selection}")
        return self

    @model_validator(mode="after")
    def _one_ranking_for_dropout(self) -> Self:
        if self.recompute and self.dropout_ranks == "remaining":
            raise ValueError(
                "dropout_ranks=remaining cannot be combined with recompute, which ranks the remaining filters again; "
                "set only one of them"
            )
        return self

    @model_validator(mode="after")
    def _norms_can_be_gathered(self) -> Self:
        # `recompute` ranks directly after a prune, before an epoch could gather norms. Transposed convolutions
        # have no ReLU output to gather.
        conflicts = {
            "pretrained": self.pretrained,
            "recovery=convergence": self.recovery == "convergence",
            "recompute": self.recompute,
            "prune_upconvs": self.prune_upconvs,
        }
        if self._gathers and (active := [name for name, is_set in conflicts.items() if is_set]):
            raise ValueError(f"importance=l2_gathered cannot be combined with {active[0]}; change one of them")
        return self

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the doubling U-Net, with prunable transposed convolutions if `prune_upconvs`."""
        unet = self.unet("doubling", spatial_dims, in_channels, out_channels)
        return unet.model_copy(update={"prune_upconvs": self.prune_upconvs})

    def fixed_network(self) -> str | None:
        """Return that some hyperparameters are defined for the U-Net alone."""
        if self.prune_upconvs:
            return "prune_upconvs belongs to the U-Net; other networks lose filters of all layers that can"
        if self._gathers:
            return "importance=l2_gathered is known for the U-Net only"
        return None

    def trained_parent(self) -> str | None:
        """Return the run with the converged network if `pretrained`."""
        return "converged" if self.pretrained else None

    def parents(self) -> Mapping[str, Parent]:
        """Return the run with the converged network if `pretrained`, and that of `dropout=matched`."""
        converged = {"converged": Parent("standard", self.shared_hyperparameters())} if self.pretrained else {}
        own = {"dropout", "selection", "largest_by", "select_parameters"}
        return converged | dropout_parents(self.dropout, self.model_dump(mode="json", exclude=own))

    def fit(self, trainer: Trainer) -> None:
        """Prune and train in turn until no filter can be removed or the parameter limit is reached."""
        begin_dropout(trainer, self.dropout, self.base_dropout)
        if self.pretrained:
            trainer.adopt("converged")
        else:
            trainer.train(epochs=1, gather=self._gathers)
        self._checkpoint(trainer)
        limit = self.parameter_limit(parameter_count(trainer.architecture))
        if self.width_multiple > 1 and not self.prunable(trainer.architecture.layers):
            raise StrategyError(f"width_multiple={self.width_multiple}: no layer is wide enough to lose filters")
        while self.prunable(trainer.architecture.layers) and parameter_count(trainer.architecture) > limit:
            self.prune_once(trainer)
            if self.recovery == "epochs":
                trainer.train(epochs=self.recovery_epochs, gather=self._gathers)
            else:
                train_to_convergence(trainer, trainer.finetune_patience)
            self._checkpoint(trainer)

    def prunable(self, layers: Mapping[str, int]) -> bool:
        """Return whether filters can be removed from any layer, given how many each has."""
        return any(filters_to_multiple(width, self.min_filters, self.width_multiple) for width in layers.values())

    @property
    def _gathers(self) -> bool:
        return self.importance == "l2_gathered"

    def _checkpoint(self, trainer: Trainer) -> None:
        size = parameter_count(trainer.architecture)
        trainer.checkpoint(candidate=self.select_parameters is None or size <= self.select_parameters)

    def parameter_limit(self, start: int) -> int:
        """Return the number of parameters at which pruning ends, for a network that started with `start`."""
        if self.stop_fraction is not None:
            return int(self.stop_fraction * start)
        return self.stop_parameters or 0

    def prune_once(self, trainer: Trainer) -> None:
        """Choose and remove filters, and set targeted dropout."""
        chosen = SELECTIONS[self.selection](trainer, self)
        trainer.prune(chosen.filters, self.optimiser)
        if self.dropout == "targeted":
            trainer.set_dropout(self._ranking_for_dropout(trainer, chosen).dropout(self.base_dropout))

    def _ranking_for_dropout(self, trainer: Trainer, chosen: Chosen) -> Ranking:
        """Return the ranking that sets dropout after a prune.

        §2.2 computes the magnitudes again after the prune. STAMP's code uses the ranking before it, with the positions
        of the removed filters, and so do the published runs (`before_prune`). `remaining` follows the paper without
        another pass: the removed filters leave the ranking.
        """
        if self.recompute:
            return rank(trainer, self.importance)
        if chosen.ranking is None:
            raise StrategyError(f"dropout=targeted needs a ranking, but selection={self.selection} returned none")
        return chosen.ranking if self.dropout_ranks == "before_prune" else chosen.ranking.without(chosen.filters)
