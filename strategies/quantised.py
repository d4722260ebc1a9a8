"""The selected network of another strategy, computed in a lower precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from stampbench.models.model import Architecture
from stampbench.strategies.base import Parent, Strategy, Trainer
from stampbench.strategies.parent_settings import ParentSettings
from stampbench.strategies.registry import STRATEGIES

_PARENT = "trained"


class Quantised(Strategy):
    """Take the selected network of a parent run and let it be validated and tested in int8 or bf16.

    Nothing is trained: the run has the parent's weights and is charged for it. With int8, activations get their ranges
    from the training images. Tables name the run after the parent's strategy and the precision.
    """

    trains = False

    of: str = Field("stamp_plus", description="strategy of the parent run whose selected network is taken")
    precision: Literal["int8", "bf16"] = Field("int8", description="precision of the network in validation and test")
    settings: ParentSettings = Field(
        default_factory=dict, description='hyperparameters of the parent run as JSON, such as {"filters_per_step": 4}'
    )
    f: int | None = Field(None, ge=1, le=1024, description="f of the parent run; unset: its default")  # type: ignore[assignment]
    depth: int | None = Field(None, ge=1, le=7, description="depth of the parent run; unset: its default")  # type: ignore[assignment]
    convs_per_level: int | None = Field(  # type: ignore[assignment]
        None, ge=1, le=16, description="convs_per_level of the parent run; unset: its default"
    )

    @field_validator("settings")
    @classmethod
    def _no_own(cls, value: dict[str, Any]) -> dict[str, Any]:
        if own := sorted({"f", "depth", "convs_per_level", "learning_rate"} & value.keys()):
            raise ValueError(f"{own[0]} is a hyperparameter of its own here; set it beside settings")
        return value

    @field_validator("of")
    @classmethod
    def _trains(cls, value: str) -> str:
        others = [name for name in STRATEGIES if name != "quantised"]
        if value not in others:
            raise ValueError(f"must be one of {', '.join(others)}")
        return value

    def start(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the architecture that the parent run starts from."""
        return self._parent().start(spatial_dims, in_channels, out_channels)

    def fixed_network(self) -> str | None:
        """Return why the parent run's strategy cannot start from another network, if it cannot."""
        return self._parent().fixed_network()

    def parents(self) -> Mapping[str, Parent]:
        """Return the parent run that trains the network."""
        return {_PARENT: Parent(self.of, self._hyperparameters())}

    def fit(self, trainer: Trainer) -> None:
        """Take the parent's network and make one checkpoint in the low precision."""
        trainer.adopt(_PARENT)
        trainer.compute_in(self.precision)
        trainer.checkpoint()

    def _hyperparameters(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("f", "depth", "convs_per_level", "learning_rate")}
        return {name: value for name, value in own.items() if value is not None} | self.settings

    def _parent(self) -> Strategy:
        entry = STRATEGIES[self.of]
        parent: Strategy = entry.load().model_validate({**entry.preset, **self._hyperparameters()})
        return parent
