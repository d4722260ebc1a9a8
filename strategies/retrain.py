"""Shapes that another strategy found, trained again from scratch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from stampbench.strategies.base import Parent, ParentCheckpoint, ParentRun, Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.errors import StrategyError


class RetrainScratch(Strategy):
    """Re-initialise the shapes that pruning passed through and train each as a standard U-Net.

    Dinsdale et al. 2022, §3.3.3 and Fig. 15: every 40th step. STAMP says that its weights matter, Hassler
    (2024) that the shape is enough. `budget` "source" trains each shape for as many epochs as the source had
    been charged when it got there, so that both have had the same.
    """

    source: str = Field("stamp_plus", description="the strategy whose shapes are taken")
    source_settings: dict[str, Any] = Field(default_factory=dict, description='its hyperparameters, as JSON: {"f": 8}')
    source_seed: int | None = Field(None, ge=0, description="its seed; one source, several seeds: same shapes")
    every_steps: int = Field(40, ge=1, description="take every so many pruning steps")
    step: int | Literal["selected"] | None = Field(None, description="take one step only, or the selected one")
    budget: Literal["convergence", "source"] = Field("convergence", description="how long a shape trains")

    @field_validator("source_settings", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is no JSON object ({error.msg})") from None

    def parents(self) -> Mapping[str, Parent]:
        return {"shapes": Parent(self.source, {**self.network(), **self.source_settings}, self.source_seed)}

    def fit(self, trainer: Trainer) -> None:
        for checkpoint in self._chosen(trainer.parent("shapes")):
            trainer.reset(checkpoint.architecture)
            if self.budget == "source":
                trainer.train(epochs=checkpoint.epoch)
            else:
                train_to_convergence(trainer, trainer.patience)
            trainer.checkpoint()

    def _chosen(self, source: ParentRun) -> list[ParentCheckpoint]:
        if self.step is None:
            return [each for each in source.checkpoints if each.step % self.every_steps == 0]
        wanted = source.selected if self.step == "selected" else self.step
        chosen = [each for each in source.checkpoints if each.step == wanted]
        if not chosen:
            raise StrategyError(f"step={wanted}: {self.source} made steps 0 to {source.checkpoints[-1].step}")
        return chosen
