"""Run specification: everything that can change a run's result; the run's id is a hash of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from stampbench.benchmark.config.bounds import Count, Edges, Finite, PathName, RunId, Sha256
from stampbench.benchmark.config.protocol import EPOCH_BUDGET, PROTOCOLS, SETTABLE, Protocol

_MOST_VOXELS = 2**31
"""Most voxels of a prepared image."""
_YOUNGER = ("training_set", "network", "weights")
"""Fields that are younger than published runs: the stored form omits them if they are empty."""
_QUANTISED = "quantised"
"""Strategy that takes the network of the strategy `of`, and whose runs are named after it and `precision`."""
_LONGEST_VALUE = 30
"""Longer hyperparameters of networks appear in labels as hashes."""


class DatasetIdentity(BaseModel):
    """A dataset's name, version and content, and the preprocessing that networks depend on.

    `clip_range` is stored as `window`: ids of published runs are hashes over that key.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    name: PathName = Field(description="name of the dataset")
    version: str = Field(description="version of the dataset's definition")
    checksum: Sha256 = Field(description="SHA-256 over the content of all cases, the classes and the channels")
    spatial_dims: Literal[2, 3] = Field(description="2 or 3")
    size: Edges = Field(description="prepared image size in voxels per axis")
    patch: Edges | None = Field(None, description="patch size in voxels; null: networks see whole images")
    fit: str = Field("pad", description="how an image gets its size: pad (and crop) or resize")
    clip_range: tuple[Finite, Finite] | None = Field(
        None, alias="window", description="intensities that are kept, in units of the files; null: all"
    )
    crop: Edges | None = Field(None, description="box in voxels around the label to which files are cut")
    split_version: Count = Field(
        1, description="what the split depends on: 1, name and ids (left out); 2, ids of subjects and images alone"
    )

    @model_serializer(mode="wrap")
    def _stored(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the first version of splits, so that the ids of older runs hold."""
        stored: dict[str, Any] = serialise(self)
        return {key: value for key, value in stored.items() if key != "split_version" or value != 1}

    @model_validator(mode="after")
    def _same_dims(self) -> Self:
        for name in ("size", "patch"):
            edges = getattr(self, name)
            if edges is not None and (len(edges) != self.spatial_dims or math.prod(edges) > _MOST_VOXELS):
                raise ValueError(
                    f"{name} {'×'.join(map(str, edges))} is not one of {self.spatial_dims} axes and at most "
                    f"{_MOST_VOXELS:,} voxels"
                )
        return self

    @property
    def seen(self) -> tuple[int, ...]:
        """Size in voxels of what a network sees in training: the patch size, else the image size."""
        return self.patch or self.size


class NetworkIdentity(BaseModel):
    """A network and its hyperparameters."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(max_length=200, description="registered name of the network")
    hyperparameters: dict[str, Any] = Field(description="all its hyperparameters, defaults included")


class RunSpec(BaseModel):
    """Strategy × network × dataset × training size × training set × fold × seed × protocol.

    Device and folders do not count. `parents` is stored as `sources`: ids of published runs are hashes over that key.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    strategy: PathName = Field(description="registered name of the strategy")
    hyperparameters: dict[str, Any] = Field(description="all hyperparameters of the strategy, defaults included")
    dataset: DatasetIdentity = Field(description="dataset and preprocessing")
    n_train: Count = Field(description="training images, validation images included")
    fold: Count = Field(description="number of the fold, from 0")
    seed: Count = Field(description="seed of initialisation, order of images, dropout and the strategy's draws")
    protocol: Protocol = Field(description="everything of training that is the same for all strategies")
    training_set: Count = Field(0, description="number of the draw of training images, from 0; 0 is left out")
    network: NetworkIdentity | None = Field(
        None, description="network that the strategy starts from; left out: the strategy's own"
    )
    weights: Sha256 | None = Field(
        None, description="SHA-256 of the file of trained weights, not of a run, that it starts from; left out: none"
    )
    code: str | None = Field(None, description="version of a plug-in's code; null: nothing is a plug-in")
    parents: dict[str, RunId] = Field(
        default={}, alias="sources", description="ids of the parent runs, by the strategy's names for them"
    )

    @model_serializer(mode="wrap")
    def _stored(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older runs do not have, so that their ids hold."""
        stored: dict[str, Any] = serialise(self)
        return {key: value for key, value in stored.items() if key not in _YOUNGER or value}

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits of a SHA-256 over the stored form."""
        return _digest(self.stored())

    @property
    def group(self) -> str:
        """Hash of dataset, training size and protocol: runs of one group are comparable."""
        return self.id_and_group()[1]

    def id_and_group(self) -> tuple[str, str]:
        """Return both, in little more time than one."""
        dump = self.stored()
        return _digest(dump), _digest([dump["dataset"], dump["n_train"], dump["protocol"]])

    @property
    def task(self) -> str:
        """Hash like `group`, but without the epoch budget of the protocol."""
        dump = self.stored()
        protocol = {key: value for key, value in dump["protocol"].items() if key not in EPOCH_BUDGET}
        return _digest([dump["dataset"], dump["n_train"], protocol])

    @property
    def training_protocol(self) -> Protocol:
        """The protocol, with the strategy's learning rate if it has its own."""
        rate = self.hyperparameters.get("learning_rate")
        return self.protocol if rate is None else self.protocol.model_copy(update={"learning_rate": rate})

    def stored(self) -> dict[str, Any]:
        """The specification as `run.json` holds it and as ids are hashed from it."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def test_precision(self) -> Literal["int8", "bf16"] | None:
        """Precision in which the network was tested; None: in that of its training."""
        precision = self.hyperparameters.get("precision") if self.strategy == _QUANTISED else None
        return precision if precision in ("int8", "bf16") else None

    @property
    def protocol_label(self) -> str:
        """The protocol's name, followed by the settings that differ from the named protocol."""
        named = PROTOCOLS.get(self.protocol.name)
        return _label(
            self.protocol.name,
            {
                key: getattr(self.protocol, key)
                for key in SETTABLE
                if named is None or getattr(self.protocol, key) != getattr(named, key)
            },
        )

    def label(self, defaults: Mapping[str, Any], network_defaults: Mapping[str, Any] | None = None) -> str:
        """The strategy's name, its network, weights that it starts from, what differs from defaults, and code versions.

        A run that only computes the network of another strategy in a lower precision has that strategy's name.

        Args:
            defaults: hyperparameters of the strategy that are not named.
            network_defaults: the same of the network.
        """
        named: dict[str, Any] = {}
        if self.network is not None:
            settings = _changed(self.network.hyperparameters, network_defaults or {})
            settings = {key: _short(value) for key, value in settings.items()}
            named = {"network": " ".join([self.network.name, *(f"{key}={value}" for key, value in settings.items())])}
        if self.weights is not None:
            named["weights"] = self.weights[:8]
        own, name, words = dict(self.hyperparameters), self.strategy, list[str]()
        if self.test_precision is not None:
            name, words = str(own.pop("of", name)), [str(own.pop("precision"))]
            own |= settings if isinstance(settings := own.pop("settings", None), dict) else {}
        named |= _changed(own, defaults)
        return _label(name, named | ({"code": self.code} if self.code else {}), words)

    def stream(self, purpose: str) -> int:
        """A seed for one purpose such as `dropout`, derived from seed, fold and training set."""
        drawn = [self.training_set] if self.training_set else []
        return int(_digest([self.seed, self.fold, purpose, *drawn]), 16)


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value != defaults.get(key)}


def _short(value: object) -> object:
    """Return a value, or the hash of one that would make labels too long."""
    return value if len(str(value)) <= _LONGEST_VALUE else f"#{_digest(value)[:6]}"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _label(name: str, differences: dict[str, Any], words: Sequence[str] = ()) -> str:
    parts = [*(f"{key}={value}" for key, value in differences.items()), *words]
    return f"{name} ({', '.join(parts)})" if parts else name
