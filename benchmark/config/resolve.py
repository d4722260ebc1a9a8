"""Names and settings of a user, resolved to strategies, protocols, folds and training sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from stampbench.benchmark.config.protocol import PROTOCOLS, SETTABLE, Protocol
from stampbench.benchmark.config.resolved import ResolvedNetwork, ResolvedStrategy
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.errors import UserError, unknown
from stampbench.models.registry import DEFAULT, NETWORKS, register_target
from stampbench.models.registry import Entry as NetworkEntry
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import SELECTION_CODES, STRATEGIES, Entry

if TYPE_CHECKING:  # it imports torch
    from stampbench.strategies.base import Strategy

Folds = Literal["all"] | tuple[int, ...]
"""All folds of a protocol, or some by number."""


def resolve_protocol(name: str, settings: Mapping[str, Any]) -> Protocol:
    """Return a named protocol with settings applied.

    Raises:
        UserError: when the name or a key is unknown, or a value is not valid.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    for key in settings:
        if key not in SETTABLE:
            raise unknown("protocol setting", key, SETTABLE)
    protocol = PROTOCOLS[name]
    # These two are excluded from dumps.
    hidden = {"summary": protocol.summary, "hyperparameters": protocol.hyperparameters}
    return validated(Protocol, f"protocol '{name}'", {**protocol.model_dump(), **settings, **hidden})


def resolve_strategies(
    names: Sequence[str], protocol: Protocol, settings: Mapping[str, Any], skipped: list[str] | None = None
) -> list[ResolvedStrategy]:
    """Return strategies by name, or all that train for the name `all`; each gets the settings that it has.

    Args:
        names: registered names, or `all`.
        protocol: the protocol, which may set hyperparameters.
        settings: hyperparameters by name.
        skipped: with `all`, receives a line for each plug-in that cannot be loaded.

    Raises:
        UserError: when a name is unknown, no strategy has a setting, or a value is not valid.
        StrategyError: when a named plug-in cannot be loaded.
    """
    if not names:
        raise unknown("strategy", "", STRATEGIES)
    classes = _loadable(skipped) if list(names) == ["all"] else {name: _entry(name).load() for name in names}
    fields = {key for each in classes.values() for key in each.model_fields}
    for key in settings:
        if key not in fields:
            raise unknown(f"hyperparameter of {', '.join(classes)}", key, sorted(fields))
    return [
        resolve_strategy(name, protocol, {key: value for key, value in settings.items() if key in cls.model_fields})
        for name, cls in classes.items()
    ]


def resolve_strategy(name: str, protocol: Protocol, values: Mapping[str, Any]) -> ResolvedStrategy:
    """Return a strategy with its own defaults, overridden by the protocol's, its name's, and these values.

    Raises:
        UserError: when the name or a hyperparameter is unknown, or a value is not valid, also of a parent run.
        StrategyError: when a plug-in cannot be loaded, or fails.
    """
    resolved = _resolved(name, protocol, values)
    try:
        parents = list(resolved.strategy.parents().values())
    except Exception as error:  # a plug-in may fail in any way
        raise StrategyError(f"strategy '{name}': {type(error).__name__}: {error}") from error
    for parent in parents:
        _resolved(parent.strategy, protocol, parent.hyperparameters)
    return resolved


def _resolved(name: str, protocol: Protocol, values: Mapping[str, Any]) -> ResolvedStrategy:
    """Return a strategy whose parent runs have not been checked."""
    entry = _entry(name)
    cls = entry.load()
    for key in values:
        if key not in cls.model_fields:
            raise unknown(f"hyperparameter of {name}", key, cls.model_fields)
    base = {key: value for key, value in protocol.hyperparameters.items() if key in cls.model_fields}
    base |= entry.preset
    strategy = validated(cls, f"strategy '{name}'", base | dict(values))
    codes = [entry.code, SELECTION_CODES.get(getattr(strategy, "selection", ""))]
    code = ", ".join(each for each in codes if each) or None
    return ResolvedStrategy(name, strategy, validated(cls, f"strategy '{name}'", base).model_dump(mode="json"), code)


def resolve_network(name: str, values: Mapping[str, Any]) -> ResolvedNetwork | None:
    """Return a network with its own defaults, overridden by its name's and these values; None for the default, `unet`.

    A name such as `mypackage.nets:MyNet` is imported. Instead of a network's `f`, the value `size` chooses as many
    parameters as the U-Net with so many filters on its first level has.

    Raises:
        UserError: when the name or a hyperparameter is unknown, a value is not valid, or `f` and `size` are set.
        ModelError: when a plug-in cannot be loaded.
    """
    if name == DEFAULT:
        if values:
            raise UserError(
                f"network '{name}': its hyperparameters are those of strategies; set {', '.join(values)} there",
                setting="network",
            )
        return None
    entry = _network_entry(name)
    cls = entry.load()
    known, what = network_settings(name), f"network '{name}'"
    for key in values:
        if key not in known:
            raise unknown(f"hyperparameter of network {name}", key, known)
    size = None
    if "size" in values and "size" not in cls.model_fields:
        if "f" in values:
            raise UserError(f"{what}: f and size are mutually exclusive; set only one of them", setting="network")
        size = validated(_Size, what, {"size": values["size"]}).size
    own = {key: value for key, value in values.items() if key in cls.model_fields}
    network = validated(cls, what, dict(entry.preset) | own)
    defaults = validated(cls, what, dict(entry.preset)).model_dump(mode="json")
    return ResolvedNetwork(name, network, defaults, entry.code, size)


def network_settings(name: str) -> list[str]:
    """Return what can be set for a network: its hyperparameters, and `size` if it has an `f`.

    Raises:
        UserError: when the name is unknown.
        ModelError: when a plug-in cannot be loaded.
    """
    fields = [] if name == DEFAULT else list(_network_entry(name).load().model_fields)
    return [*fields, "size"] if "f" in fields and "size" not in fields else fields


def resolve_networks(names: Sequence[str], settings: Mapping[str, Any]) -> list[ResolvedNetwork | None]:
    """Return networks by name; each gets the settings that it has.

    Raises:
        UserError: when a name is unknown, no network has a setting, or a value is not valid.
        ModelError: when a plug-in cannot be loaded.
    """
    if not names:
        raise unknown("network", "", [DEFAULT, *NETWORKS])
    fields = {name: network_settings(name) for name in names if name != DEFAULT}
    for key in settings:
        if not any(key in each for each in fields.values()):
            if not fields:
                raise UserError(
                    f"network '{DEFAULT}': its hyperparameters are those of strategies; set {key} there",
                    setting="network",
                )
            raise unknown(f"hyperparameter of network {', '.join(fields)}", key, sorted(set().union(*fields.values())))
    return [
        resolve_network(name, {key: value for key, value in settings.items() if key in fields.get(name, [])})
        for name in names
    ]


def resolve_folds(folds: Folds, protocol: Protocol) -> list[int]:
    """Return the numbers of the folds.

    Raises:
        UserError: when the protocol does not have a fold.
    """
    if folds == "all":
        return list(range(protocol.folds))
    for fold in folds:
        if not 0 <= fold < protocol.folds:
            raise UserError(
                f"no fold {fold}; protocol '{protocol.name}' has folds 0 to {protocol.folds - 1}", setting="folds"
            )
    return list(dict.fromkeys(folds))


def _loadable(skipped: list[str] | None) -> dict[str, type[Strategy]]:
    classes = {}
    for name, entry in STRATEGIES.items():
        try:
            cls = entry.load()
        except StrategyError as error:
            (skipped if skipped is not None else []).append(str(error))
            continue
        if cls.trains:
            classes[name] = cls
    return classes


def _entry(name: str) -> Entry:
    if name not in STRATEGIES:
        raise unknown("strategy", name, [*STRATEGIES, "all"])
    return STRATEGIES[name]


class _Size(BaseModel):
    size: int = Field(ge=1, le=1024)


def _network_entry(name: str) -> NetworkEntry:
    if ":" in name:
        register_target(name)
    if name not in NETWORKS:
        raise unknown("network", name, [DEFAULT, *NETWORKS])
    return NETWORKS[name]
