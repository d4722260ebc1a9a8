"""The command that makes a recorded run again."""

from __future__ import annotations

import json
import shlex
from typing import Any

from stampbench.benchmark.choices import choose_protocol, choose_strategy
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.protocol import PROTOCOLS, SETTABLE
from stampbench.benchmark.spec import RunSpec
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.strategies.errors import StrategyError


def command(spec: RunSpec) -> str:
    """`stampbench run …` with all that differs from defaults; a folder is called by its name, and has to be put in.

    A strategy that is not installed here has all its hyperparameters named.
    """
    words = ["stampbench", "run", "--strategy", spec.strategy, "--dataset", *_dataset(spec)]
    words += ["--n-train", str(spec.n_train), "--folds", str(spec.fold), "--seed", str(spec.seed)]
    words += ["--protocol", spec.protocol.name]
    for key, value in _settings(spec).items():
        words += ["--set", f"{key}={_text(value)}"]
    named = PROTOCOLS.get(spec.protocol.name)
    for key in SETTABLE:
        if named is None or getattr(spec.protocol, key) != getattr(named, key):
            words += ["--protocol-set", f"{key}={_text(getattr(spec.protocol, key))}"]
    return shlex.join(words)


def _dataset(spec: RunSpec) -> list[str]:
    identity = spec.dataset
    known = CATALOGUE.get(identity.name)
    words = [identity.name if known is not None else f"./{identity.name}"]
    if known is not None and known.phantom is not None:
        if identity.size[0] != known.phantom.size:
            words[0] = f"{identity.name}:size={identity.size[0]}"
        return words
    if known is None or known.spatial_dims != identity.spatial_dims:
        words += ["--spatial-dims", str(identity.spatial_dims)]
    if known is None or known.size != identity.size:
        words += ["--image-size", "x".join(map(str, identity.size))]
    if identity.patch is not None:
        words += ["--patch-size", "x".join(map(str, identity.patch))]
    return words


def _settings(spec: RunSpec) -> dict[str, Any]:
    """The hyperparameters that differ from those that the strategy has under its protocol."""
    try:
        protocol = choose_protocol(spec.protocol.name, [])
        defaults = choose_strategy(spec.strategy, protocol, {}).strategy.model_dump(mode="json")
    except (UserError, StrategyError):
        defaults = {}
    return {key: value for key, value in spec.hyperparameters.items() if key not in defaults or value != defaults[key]}


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) or value is None else str(value)
