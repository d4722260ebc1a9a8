"""From what a user typed to strategies, datasets and protocols."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

from stampbench.benchmark.config.protocol import PROTOCOLS, SETTABLE, Protocol
from stampbench.benchmark.errors import UserError, unknown
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Definition, folder_definition
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import SELECTION_CODES, STRATEGIES, Entry

if TYPE_CHECKING:  # they import torch, or take time
    from stampbench.datasets.dataset import Dataset
    from stampbench.strategies.base import Strategy

_Model = TypeVar("_Model", bound=BaseModel)


class ResolvedStrategy(NamedTuple):
    """A strategy ready to run, the hyperparameters it would have if the user had set none, and a plug-in's version."""

    name: str
    strategy: Strategy
    defaults: dict[str, Any]
    code: str | None = None


class DatasetRequest(BaseModel, frozen=True, extra="forbid"):
    """A dataset as a user names it, and the form in which it is seen."""

    name: str
    spatial_dims: int | None = Field(None, ge=2, le=3)
    subject_pattern: str | None = None
    image_size: str | None = None
    patch_size: str | None = None

    def define(self) -> Definition:
        """Raises:
        UserError: neither a known name nor an existing folder, or something that does not fit it.
        """
        return resolve_dataset(self.name, self.spatial_dims, self.subject_pattern, self.image_size, self.patch_size)

    def open(self, data_root: Path | None) -> Dataset:
        """Raises:
        UserError, DatasetError: it is not known, not there, or not usable.
        """
        from stampbench.datasets.dataset import open_dataset

        return open_dataset(self.define(), data_root)


def resolve_protocol(name: str, settings: Sequence[str]) -> Protocol:
    """A named protocol with `key=value` settings applied.

    Raises:
        UserError: an unknown name or key, or a value of the wrong type.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    values = _pairs("--protocol-set", settings)
    for key in values:
        if key not in SETTABLE:
            raise unknown("protocol setting", key, SETTABLE)
    protocol = PROTOCOLS[name]
    # summary and hyperparameters are excluded from dumps, so they are carried over by hand
    return _build(
        Protocol,
        f"protocol '{name}'",
        {
            **protocol.model_dump(),
            **values,
            "summary": protocol.summary,
            "hyperparameters": protocol.hyperparameters,
        },
    )


def resolve_strategies(
    names: str, protocol: Protocol, settings: Sequence[str], left_out: list[str] | None = None
) -> list[ResolvedStrategy]:
    """Strategies by comma-separated names or `all`, `key=value` settings applied to those that have the key.

    Under `all`, `left_out` gets a line for each strategy from outside that cannot be loaded.

    Raises:
        UserError: an unknown name, a key that none of them has, or a value of the wrong type.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise unknown("strategy", names, STRATEGIES)
    classes = _all_that_load(left_out) if chosen == ["all"] else {name: _entry(name).load() for name in chosen}
    values = _pairs("--set", settings)
    fields = {key for each in classes.values() for key in each.model_fields}
    for key in values:
        if key not in fields:
            raise unknown(f"hyperparameter of {', '.join(classes)}", key, sorted(fields))
    return [
        resolve_strategy(name, protocol, {key: value for key, value in values.items() if key in cls.model_fields})
        for name, cls in classes.items()
    ]


def resolve_strategy(name: str, protocol: Protocol, values: Mapping[str, Any]) -> ResolvedStrategy:
    """A strategy with hyperparameters: its own defaults, then the protocol's, its name's, and these.

    Raises:
        UserError: an unknown name, an unknown hyperparameter, or a value of the wrong type.
        StrategyError: a plug-in that cannot be loaded.
    """
    entry = _entry(name)
    cls = entry.load()
    for key in values:
        if key not in cls.model_fields:
            raise unknown(f"hyperparameter of {name}", key, cls.model_fields)
    base = {key: value for key, value in protocol.hyperparameters.items() if key in cls.model_fields}
    base |= entry.preset
    strategy = _build(cls, f"strategy '{name}'", base | dict(values))
    codes = [entry.code, SELECTION_CODES.get(getattr(strategy, "selection", ""))]
    code = ", ".join(each for each in codes if each) or None
    return ResolvedStrategy(name, strategy, _build(cls, f"strategy '{name}'", base).model_dump(mode="json"), code)


def resolve_dataset(
    text: str,
    spatial_dims: int | None = None,
    subject_pattern: str | None = None,
    image_size: str | None = None,
    patch_size: str | None = None,
) -> Definition:
    """A dataset by name, by name and parameters (`phantom2d:size=48,cases=20`), or by folder.

    Raises:
        UserError: neither a known name nor an existing folder, or a parameter or size that does not fit.
    """
    name, colon, parameters = text.partition(":")
    if text in CATALOGUE or (colon and name in CATALOGUE):
        definition = CATALOGUE[name]
        if parameters:
            definition = _with_parameters(definition, parameters)
    elif Path(text).expanduser().is_dir():
        definition = folder_definition(Path(text))
    elif os.sep in text or text.startswith("."):
        raise UserError(f"dataset folder '{text}' does not exist")
    else:
        raise unknown("dataset", text, [*CATALOGUE, "a folder"])
    changes: dict[str, Any] = {}
    if spatial_dims is not None:
        changes |= {"spatial_dims": spatial_dims, "size": definition.size and definition.size[:spatial_dims]}
        if definition.phantom or (definition.size and len(definition.size) != spatial_dims):
            raise UserError(
                f"dataset '{definition.name}' has {definition.spatial_dims} spatial dims, not {spatial_dims}"
            )
    if subject_pattern is not None:
        changes["subject_pattern"] = subject_pattern
    if image_size is not None:
        if definition.phantom:
            raise UserError(f"--image-size: the size of '{name}' is a parameter, {name}:size=48")
        changes["size"] = resolve_edges("--image-size", image_size)
    if patch_size is not None:
        changes["patch"] = None if patch_size == "none" else resolve_edges("--patch-size", patch_size)
    return definition.model_copy(update=changes)


def resolve_edges(option: str, text: str) -> tuple[int, ...]:
    """A size such as `48x64x48` or `48,64,48`.

    Raises:
        UserError: something else.
    """
    parts = text.replace("×", ",").replace("x", ",").split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"{option} '{text}' is no size such as 64x64x64")
    return tuple(map(int, parts))


def resolve_folds(text: str, protocol: Protocol) -> list[int]:
    """`all`, or a comma-separated list of fold numbers.

    Raises:
        UserError: not numbers, or folds that the protocol does not have.
    """
    if text == "all":
        return list(range(protocol.folds))
    try:
        folds = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise UserError(f"--folds '{text}' is neither 'all' nor numbers such as 0,2") from None
    for fold in folds:
        if not 0 <= fold < protocol.folds:
            raise UserError(f"--folds: no fold {fold}; protocol '{protocol.name}' has folds 0 to {protocol.folds - 1}")
    return folds


def resolve_n_train(text: str) -> int | None:
    """`all` (None), or a number of training images.

    Raises:
        UserError: neither.
    """
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 2:
        raise UserError(f"--n-train '{text}' is neither 'all' nor a number of images from 2")
    return int(text)


def _all_that_load(left_out: list[str] | None) -> dict[str, type[Strategy]]:
    classes = {}
    for name, entry in STRATEGIES.items():
        try:
            classes[name] = entry.load()
        except StrategyError as error:
            (left_out if left_out is not None else []).append(str(error))
    return classes


def _entry(name: str) -> Entry:
    if name not in STRATEGIES:
        raise unknown("strategy", name, [*STRATEGIES, "all"])
    return STRATEGIES[name]


def _with_parameters(definition: Definition, text: str) -> Definition:
    if definition.phantom is None:
        raise UserError(f"dataset '{definition.name}' takes no parameters; got '{text}'")
    values = _pairs(f"dataset '{definition.name}'", text.split(","))
    known = list(type(definition.phantom).model_fields)
    for key in values:
        if key not in known:
            raise unknown(f"parameter of {definition.name}", key, known)
    phantom = _build(type(definition.phantom), f"dataset '{definition.name}'", definition.phantom.model_dump() | values)
    return definition.model_copy(update={"phantom": phantom})


def _pairs(option: str, settings: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{option} takes key=value, not '{setting}'")
        pairs[key.strip()] = value.strip()
    return pairs


def _build(cls: type[_Model], what: str, values: Mapping[str, Any]) -> _Model:
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        which = f"{key}={first['input']!r}: " if key else ""
        problem = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{what}: {which}{problem[0].lower()}{problem[1:]}") from None
