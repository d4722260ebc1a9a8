"""The command that makes a recorded run again."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from stampbench.benchmark.config.protocol import PROTOCOLS, SETTABLE
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategy
from stampbench.benchmark.config.spec import DatasetIdentity, RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.dataset import WHOLE
from stampbench.strategies.errors import StrategyError


def command(record: Mapping[str, Any]) -> str:
    """`stampbench run …` with all that differs from defaults, and how it was computed: on a CPU other threads round
    otherwise, which is enough to train another network.

    A folder is called `./` and its name; a strategy from a file needs `--plugin` with it besides, and has all its
    hyperparameters named where it is not known.
    """
    spec = RunSpec.model_validate(record["spec"])
    words = ["stampbench", "run", "--strategy", spec.strategy, "--dataset", *_dataset(spec.dataset, record["dataset"])]
    words += ["--n-train", str(spec.n_train), "--folds", str(spec.fold), "--seed", str(spec.seed)]
    words += ["--protocol", spec.protocol.name]
    for key, value in _settings(spec).items():
        words += ["--set", f"{key}={_text(value)}"]
    named = PROTOCOLS.get(spec.protocol.name)
    for key in SETTABLE:
        if named is None or getattr(spec.protocol, key) != getattr(named, key):
            words += ["--protocol-set", f"{key}={_text(getattr(spec.protocol, key))}"]
    return shlex.join([*words, *_computing(record["environment"])])


def _computing(environment: Mapping[str, Any]) -> list[str]:
    kind = environment["device"].partition(":")[0]
    words = ["--device", kind]
    words += ["--threads", str(environment["threads"])] if kind == "cpu" else []
    kernels = environment.get("kernels", "plain")  # the only ones there were before records had this
    words += ["--kernels", kernels] if kernels != "fast" else []
    flags = ("save_memory", "deterministic", "tf32")
    return words + [f"--{flag.replace('_', '-')}" for flag in flags if environment.get(flag)]


def _dataset(identity: DatasetIdentity, described: Mapping[str, Any]) -> list[str]:
    known = CATALOGUE.get(identity.name)
    if known is None:
        words = [f"./{identity.name}", "--spatial-dims", str(identity.spatial_dims)]
        if pattern := described.get("subject_pattern"):
            words += ["--subject-pattern", pattern]
    else:
        words = [described.get("called", identity.name)]
        if known.phantom is not None:
            return words
    if known is None or known.size != identity.size:
        words += ["--image-size", "x".join(map(str, identity.size))]
    if identity.patch is not None:
        words += ["--patch-size", "x".join(map(str, identity.patch))]
    elif identity.spatial_dims == 3 and math.prod(identity.size) > WHOLE:  # which would be patches if nothing is said
        words += ["--patch-size", "none"]
    return words


def _settings(spec: RunSpec) -> dict[str, Any]:
    """The hyperparameters that differ from those that the strategy has under its protocol."""
    try:
        protocol = resolve_protocol(spec.protocol.name, [])
        defaults = resolve_strategy(spec.strategy, protocol, {}).strategy.model_dump(mode="json")
    except (UserError, StrategyError):
        defaults = {}
    return {
        key: value
        for key, value in spec.hyperparameters.items()
        if value is not None and (key not in defaults or value != defaults[key])  # None cannot be typed
    }


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
