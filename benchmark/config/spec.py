"""What a run is, exactly; its id is a hash of that."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from stampbench.benchmark.config.protocol import PROTOCOLS, SETTABLE, Protocol


class DatasetIdentity(BaseModel, frozen=True):
    """A dataset's name, version and content, and the form in which networks see it."""

    name: str
    version: str
    checksum: str
    spatial_dims: int
    size: tuple[int, ...]
    patch: tuple[int, ...] | None = None
    fit: str = "pad"
    window: tuple[float, float] | None = None
    crop: tuple[int, ...] | None = None

    @property
    def seen(self) -> tuple[int, ...]:
        """The size of what a network sees in training."""
        return self.patch or self.size


class RunSpec(BaseModel, frozen=True):
    """strategy × dataset × training size × fold × seed × protocol. Neither device nor place belongs to it."""

    strategy: str
    hyperparameters: dict[str, Any]
    dataset: DatasetIdentity
    n_train: int
    fold: int
    seed: int
    protocol: Protocol
    code: str | None = None
    """Which version of a strategy or selection from outside; ours are versioned by the package."""
    sources: dict[str, str] = {}
    """The ids of the runs that it builds on, by the strategy's names for them."""

    @property
    def id(self) -> str:
        return _digest(self.model_dump(mode="json"))

    @property
    def group(self) -> str:
        """Runs of one group are comparable: same data, training size and protocol."""
        dump = self.model_dump(mode="json")
        return _digest([dump["dataset"], dump["n_train"], dump["protocol"]])

    @property
    def protocol_label(self) -> str:
        """The protocol's name, with what was set differently."""
        named = PROTOCOLS.get(self.protocol.name)
        return _label(
            self.protocol.name,
            {
                key: getattr(self.protocol, key)
                for key in SETTABLE
                if named is None or getattr(self.protocol, key) != getattr(named, key)
            },
        )

    def label(self, defaults: dict[str, Any]) -> str:
        """The strategy's name, with the hyperparameters that differ from `defaults`, and a plug-in's version."""
        changed = {key: value for key, value in self.hyperparameters.items() if value != defaults.get(key)}
        return _label(self.strategy, changed | ({"code": self.code} if self.code else {}))

    def stream(self, purpose: str) -> int:
        """A seed of its own for each purpose, the same whenever this run is run."""
        return int(_digest([self.seed, self.fold, purpose]), 16)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _label(name: str, differences: dict[str, Any]) -> str:
    return f"{name} ({', '.join(f'{key}={value}' for key, value in differences.items())})" if differences else name
