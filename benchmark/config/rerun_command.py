"""The command line that repeats a run, made from its specification."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.protocol import PROTOCOLS, SETTABLE
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategy
from stampbench.benchmark.config.spec import DatasetIdentity, RunSpec
from stampbench.benchmark.environment.provenance import Environment
from stampbench.benchmark.errors import UserError
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import WHOLE
from stampbench.models.registry import NETWORKS
from stampbench.strategies.errors import StrategyError


def rerun_command(spec: RunSpec, dataset: DatasetDescription, environment: Environment) -> str:
    """Return `stampbench run …` with everything that differs from defaults, and device, threads and kernels.

    Threads belong to it because sums over another number of CPU threads round differently, which is enough to train
    another network. A folder or definition file is written as `./` and its name. A strategy of a plug-in file needs
    `--plugin` besides; if it is not known here, all its hyperparameters are written. Trained weights are described by
    their checksum, because only their owner knows where they are.
    """
    words = ["stampbench", "run", "--strategy", spec.strategy, "--dataset", *_dataset(spec.dataset, dataset)]
    words += _network(spec)
    words += ["--weights", f"<file with SHA-256 {spec.weights}>"] if spec.weights else []
    words += ["--n-train", str(spec.n_train)]
    words += ["--training-set", str(spec.training_set)] if spec.training_set else []
    words += ["--folds", str(spec.fold), "--seed", str(spec.seed)]
    words += ["--protocol", spec.protocol.name]
    for key, value in _changed_hyperparameters(spec).items():
        words += ["--set", f"{key}={_text(value)}"]
    named = PROTOCOLS.get(spec.protocol.name)
    for key in SETTABLE:
        if named is None or getattr(spec.protocol, key) != getattr(named, key):
            words += ["--protocol-set", f"{key}={_text(getattr(spec.protocol, key))}"]
    return shlex.join([*words, *_compute(environment)])


def _network(spec: RunSpec) -> list[str]:
    if spec.network is None:
        return []
    name = spec.network.name
    words = ["--network", name]
    known = NETWORKS[name].preset if name in NETWORKS else {}
    defaults = {**NETWORKS[name].load()().model_dump(mode="json"), **known} if name in NETWORKS else {}
    for key, value in spec.network.hyperparameters.items():
        if value is not None and (key not in defaults or value != defaults[key]):
            words += ["--network-set", f"{key}={_text(value)}"]
    return words


def _compute(environment: Environment) -> list[str]:
    kind = environment.device.partition(":")[0]
    words = ["--device", kind]
    words += ["--threads", str(environment.threads)] if kind == "cpu" else []
    words += ["--kernels", environment.kernels] if environment.kernels != "fast" else []
    flags = {
        "--save-memory": environment.save_memory,
        "--deterministic": environment.deterministic,
        "--tf32": environment.tf32,
        # Older versions set it on a CPU too, where it has no effect.
        "--cudnn-benchmark": environment.cudnn_benchmark and kind == "cuda",
    }
    return words + [flag for flag, on in flags.items() if on]


def _dataset(identity: DatasetIdentity, described: DatasetDescription) -> list[str]:
    known = None if described.source else CATALOGUE.get(identity.name)
    if known is None:
        words = [f"./{Path(described.source or identity.name).name}", "--spatial-dims", str(identity.spatial_dims)]
        if described.subject_pattern:
            words += ["--subject-pattern", described.subject_pattern]
    else:
        words = [described.called or identity.name]
        if known.phantom is not None:
            return words
    if known is None or known.size != identity.size:
        words += ["--image-size", "x".join(map(str, identity.size))]
    if identity.split_version != (2 if known is None else known.split_version):
        words += ["--split-version", str(identity.split_version)]
    if identity.fit != ("pad" if known is None else known.fit):
        words += ["--fit", identity.fit]
    if identity.patch is not None:
        words += ["--patch-size", "x".join(map(str, identity.patch))]
    elif identity.spatial_dims == 3 and math.prod(identity.size) > WHOLE:  # patches would be the default
        words += ["--patch-size", "none"]
    return words


def _changed_hyperparameters(spec: RunSpec) -> dict[str, Any]:
    """Return the hyperparameters that differ from those that the strategy has under its protocol."""
    try:
        protocol = resolve_protocol(spec.protocol.name, {})
        defaults = resolve_strategy(spec.strategy, protocol, {}).strategy.model_dump(mode="json")
    except (UserError, StrategyError):
        defaults = {}
    return {
        key: value
        for key, value in spec.hyperparameters.items()
        if value is not None and (key not in defaults or value != defaults[key])  # None has no text form
    }


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
