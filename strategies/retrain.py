"""Retraining, from scratch, of the architectures that another strategy found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stampbench.strategies.base import Parent, ParentCheckpoint, ParentRun, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.parent_settings import ParentSettings


class RetrainScratch(Strategy):
    """Retrain the architectures of a parent run as standard U-Nets with new initial weights.

    Dinsdale et al. 2022, §3.3.3 and Fig. 15, retrain every 40th pruning step. STAMP claims that the weights
    found by pruning matter; Hassler et al. (2026) claim that the architecture is sufficient. With `budget="source"`,
    each architecture trains for the number of epochs that the parent run was charged up to that step, which
    compares both at equal epochs.
    """

    source: str = Field("stamp_plus", description="strategy of the parent run whose architectures are retrained")
    source_settings: ParentSettings = Field(
        default_factory=dict, description='hyperparameters of the parent run as JSON, such as {"f": 8}'
    )
    source_seed: int | None = Field(
        None, ge=0, description="seed of the parent run; set it to retrain the same architectures with several seeds"
    )
    every_steps: int = Field(40, ge=1, description="retrain every N-th pruning step")
    step: int | Literal["selected"] | None = Field(
        None, description="retrain a single step: its number, or the selected one"
    )
    budget: Literal["convergence", "source"] = Field(
        "convergence", description="train each architecture to convergence, or for the epochs charged to the parent run"
    )

    def parents(self) -> Mapping[str, Parent]:
        """Return the parent run whose architectures are retrained."""
        return {
            "shapes": Parent(self.source, {**self.shared_hyperparameters(), **self.source_settings}, self.source_seed)
        }

    def fit(self, trainer: Trainer) -> None:
        """Train each chosen architecture from scratch and make a checkpoint of it."""
        for checkpoint in self._chosen_checkpoints(trainer.parent("shapes")):
            trainer.reset(checkpoint.architecture)
            if self.budget == "source":
                trainer.train(epochs=checkpoint.epoch)
            else:
                train_to_convergence(trainer, trainer.patience)
            trainer.checkpoint()

    def _chosen_checkpoints(self, parent: ParentRun) -> list[ParentCheckpoint]:
        if self.step is None:
            return [each for each in parent.checkpoints if each.step % self.every_steps == 0]
        wanted = parent.selected if self.step == "selected" else self.step
        chosen = [each for each in parent.checkpoints if each.step == wanted]
        if not chosen:
            last = parent.checkpoints[-1].step
            raise StrategyError(f"step={wanted}: the parent run of {self.source} has only steps 0 to {last}")
        return chosen
