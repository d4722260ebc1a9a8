"""The strategies that are known by name: compositions of start, schedule, selection and dropout."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from stampbench.strategies.base import Strategy


class Entry(NamedTuple):
    """A strategy's class as `module:Class`, resolved when used, and the hyperparameters its name stands for."""

    target: str
    preset: Mapping[str, Any]
    summary: str

    def load(self) -> type[Strategy]:
        module, _, name = self.target.partition(":")
        strategy: type[Strategy] = getattr(import_module(module), name)
        return strategy


_STANDARD = "stampbench.strategies.standard:Standard"
_STAMP = "stampbench.strategies.stamp:Stamp"

STRATEGIES: dict[str, Entry] = {
    "standard": Entry(_STANDARD, {}, "doubling U-Net trained to convergence (Dinsdale et al. 2022, §2.5.1)"),
    "stamp": Entry(_STAMP, {}, "prune one filter every R epochs while training (Dinsdale et al. 2022, §2.1)"),
    "stamp_plus": Entry(
        _STAMP,
        {"dropout": "targeted"},
        "stamp with targeted channelwise dropout (Dinsdale et al. 2022, §2.2)",
    ),
}
