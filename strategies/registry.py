"""Registry of strategies and selections: the built-in ones, and plug-ins from packages and files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from stampbench.models import plugin
from stampbench.models.registry import register_module as register_networks
from stampbench.strategies.errors import StrategyError

GROUP = "stampbench.strategies"
"""Entry point group of plug-in strategies."""

SELECTION_GROUP = "stampbench.selections"
"""Entry point group of plug-in selections."""

SELECTION_CODES: dict[str, str] = {}
"""Code version of each plug-in selection; it is part of the ids of the runs that use it."""


class Entry(plugin.Entry):
    """A registered strategy."""

    kind = "strategy"
    base = "stampbench.strategies.base:Strategy"
    error = StrategyError


_STANDARD = "stampbench.strategies.standard:Standard"
_POCKET = "stampbench.strategies.standard:Pocket"
_PRUNE = "stampbench.strategies.stamp:TrainAndPrune"

_STAMP = "Dinsdale et al. 2022"
_CELAYA = "Celaya et al. 2022, §2"

STRATEGIES: dict[str, Entry] = {
    "standard": Entry(_STANDARD, {}, f"SU: doubling U-Net trained to convergence ({_STAMP}, §2.5.1)"),
    "standard_d": Entry(
        _STANDARD, {"dropout": "fixed"}, f"SU+D: standard with channelwise dropout p = 0.037 ({_STAMP}, §3.2)"
    ),
    "standard_plus": Entry(
        _STANDARD, {"dropout": "targeted"}, f"SU+: standard with targeted dropout, never pruned ({_STAMP}, §3.2)"
    ),
    "stamp": Entry(_PRUNE, {}, f"STAMP: prune the least active filter every R epochs while training ({_STAMP}, §2.1)"),
    "stamp_d": Entry(
        _PRUNE, {"dropout": "fixed"}, f"STAMP+D: stamp with channelwise dropout p = 0.037 ({_STAMP}, §3.2)"
    ),
    "stamp_plus": Entry(
        _PRUNE, {"dropout": "targeted"}, f"STAMP+: stamp with targeted channelwise dropout ({_STAMP}, §2.2)"
    ),
    "prune_finetune": Entry(
        _PRUNE,
        {"dropout": "targeted", "pretrained": True, "recovery": "convergence"},
        f"PruneFinetune: prune a converged network, fine-tune after every prune ({_STAMP}, §2.5.1)",
    ),
    "random_largest": Entry(
        _PRUNE,
        {"selection": "random_largest"},
        "prune a random filter of the largest layer, without a ranking (Hassler et al. 2026, arXiv 2512.03834)",
    ),
    "random_stamp_layer": Entry(
        _PRUNE,
        {"selection": "random_in_stamp_layer"},
        "prune a random filter of the layer that stamp would prune (Hassler et al. 2026, arXiv 2512.03834)",
    ),
    "random_uniform": Entry(
        _PRUNE, {"selection": "random_uniform"}, "prune random filters of any layer (mode Random in STAMP's code)"
    ),
    "depgraph": Entry(
        _PRUNE,
        {"importance": "group_l2", "prune_upconvs": True},
        "stamp with Torch-Pruning's group L2 importance (Fang et al. 2023, §3.2); needs the extra depgraph",
    ),
    "flat": Entry(
        _STANDARD,
        {"shape": "flat"},
        "Flat or Lean U-Net: f filters on every level, trained to convergence (Hassler et al. 2026, arXiv 2512.03834)",
    ),
    **{
        f"{kind}_{block}": Entry(
            _POCKET,
            {"block": block, "pocket": kind == "pocket"},
            f"PocketNet's {label} at {'constant' if kind == 'pocket' else 'doubling'} width ({_CELAYA})",
        )
        for kind in ("pocket", "full")
        for block, label in (("unet", "U-Net"), ("resnet", "ResNet"), ("densenet", "DenseNet"))
    },
    "width_at_init": Entry(
        "stampbench.strategies.width_at_init:WidthAtInit",
        {},
        "XTinyU-Net: width chosen before training by input sensitivity, then trained (Kimbowa et al. 2026)",
    ),
    "sauron": Entry(
        "stampbench.strategies.sauron:Sauron",
        {},
        "Sauron: filters near another one are pruned after every epoch (Valverde and Tohka 2024)",
    ),
    "retrain_scratch": Entry(
        "stampbench.strategies.retrain:RetrainScratch",
        {},
        f"architectures of a parent run, retrained from scratch ({_STAMP}, §3.3.3)",
    ),
    "swift": Entry(
        "stampbench.strategies.swift:Swift",
        {},
        "a flat U-Net on space-to-depth input, for low latency; teacher, refinement and averaged weights as options",
    ),
    "quantised": Entry(
        "stampbench.strategies.quantised:Quantised",
        {},
        "the selected network of a parent run in int8 or bf16, tested as it is then computed; needs the extra export",
    ),
    "distill": Entry(
        "stampbench.strategies.distill:Distill",
        {},
        "a flat U-Net distilled from a converged standard U-Net (Hinton et al. 2015, §2)",
    ),
}
"""Strategies by name; plug-ins add their own."""


def discover() -> Iterator[str]:
    """Register the strategies and selections of installed packages.

    Strategies are imported on first use. Selections are imported immediately, because hyperparameters are
    validated against their names.

    Yields:
        One line for each plug-in that cannot be registered, with the reason.
    """
    yield from plugin.discover(STRATEGIES, Entry, GROUP)
    for point in metadata.entry_points(group=SELECTION_GROUP):
        package = plugin.package_of(point)
        try:
            selection = point.load()
        except plugin.FAILURES as error:
            yield f"{package}: selection {point.value} cannot be imported ({plugin.one_line(error)})"
            continue
        if problem := register_selection(point.name, selection, package, package):
            yield problem


def register_selection(name: str, selection: Any, origin: str, code: str) -> str | None:
    """Register a plug-in selection.

    Args:
        name: Value of the hyperparameter `selection`.
        selection: The function; see `stampbench.strategies.selection.Selection`.
        origin: Package or file of the plug-in.
        code: Code version of the plug-in, part of the ids of the runs that use it.

    Returns:
        None, or one line with the reason why the selection cannot be registered.
    """
    from stampbench.strategies.selection import SELECTIONS

    if not callable(selection):
        return f"selection '{name}' of {origin}: not registered, because it is not callable; define it as a function"
    if SELECTIONS.setdefault(name, selection) is not selection:
        known = SELECTION_CODES.get(name) or SELECTIONS[name].__module__
        return (
            f"selection '{name}' of {origin}: not registered, because the name is already used by {known}; "
            "choose another name"
        )
    SELECTION_CODES[name] = code
    return None


def load_plugin(path: Path) -> list[str]:
    """Register the strategies, networks and selections that a Python file defines.

    A strategy or network is registered under its class name in snake_case. A dictionary `SELECTIONS` in the file
    registers selections under its keys.

    Returns:
        The names of the registered strategies.

    Raises:
        StrategyError: when the file is missing, cannot be imported or defines nothing to register, when a strategy is
            not valid, or when a name is already used.
        ModelError: the same about a network.
    """
    if not path.is_file():
        raise StrategyError(f"plug-in {path}: no such file")
    spec = util.spec_from_file_location(f"stampbench_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"plug-in {path}: not a Python file; the name must end in .py")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic resolves postponed annotations there
    try:
        spec.loader.exec_module(module)
    except plugin.FAILURES as error:
        del sys.modules[spec.name]
        raise StrategyError(f"plug-in {path}: cannot be imported ({plugin.one_line(error)})") from error
    code = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    selections = vars(module).get("SELECTIONS", {})
    if not isinstance(selections, dict):
        raise StrategyError(f"plug-in {path}: SELECTIONS is a {type(selections).__name__}, not a dictionary")
    for name, selection in selections.items():
        if problem := register_selection(str(name), selection, f"plug-in {path}", code):
            raise StrategyError(problem)
    names = plugin.register_module(STRATEGIES, Entry, module, code)
    networks = register_networks(module, code)
    if not (names or networks or selections):
        raise StrategyError(
            f"plug-in {path}: defines neither a subclass of stampbench.strategies.base.Strategy or "
            "stampbench.models.network.Network nor SELECTIONS"
        )
    return names
