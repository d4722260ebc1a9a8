"""Registry of strategies and selections: the built-in ones, and plug-ins from packages and files."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stampbench.strategies.errors import StrategyError

if TYPE_CHECKING:
    from stampbench.strategies.base import Strategy

GROUP = "stampbench.strategies"
"""Entry point group of plug-in strategies."""

SELECTION_GROUP = "stampbench.selections"
"""Entry point group of plug-in selections."""

_FAILURES = (Exception, SystemExit)
"""What the code of a plug-in can raise: any exception, or that of `exit()`."""

SELECTION_CODES: dict[str, str] = {}
"""Code version of each plug-in selection; it is part of the ids of the runs that use it."""


class Entry(NamedTuple):
    """A registered strategy.

    Attributes:
        target: The class as `module:Class`, which is imported on first use.
        preset: Hyperparameters that the name stands for.
        summary: Description for lists; if empty, the first line of the class docstring is used.
        origin: Package or file of a plug-in; None for a built-in strategy.
        code: Code version of a plug-in, part of the ids of its runs; None for a built-in strategy.
        loaded: The class, if it is imported already.
    """

    target: str
    preset: Mapping[str, Any] = {}
    summary: str = ""
    origin: str | None = None
    code: str | None = None
    loaded: type[Strategy] | None = None

    def load(self) -> type[Strategy]:
        """Return the strategy class; import it if necessary.

        Raises:
            StrategyError: when a plug-in cannot be imported or is not a valid strategy.
        """
        if self.loaded is not None:
            return self.loaded
        module, _, name = self.target.partition(":")
        try:
            found = getattr(import_module(module), name)
        except _FAILURES as error:
            if self.origin is None:
                raise
            raise StrategyError(f"{self.origin}: {self.target} cannot be imported ({_one_line(error)})") from error
        return _checked(found, f"{self.origin or 'stampbench'}: {self.target}")

    def describe(self) -> str:
        """Return a one-line description for lists."""
        return self.summary or next(iter((self.load().__doc__ or "").strip().splitlines()), "no description")


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
        "prune a random filter of the largest layer, without a ranking (Hassler 2024, abstract)",
    ),
    "random_stamp_layer": Entry(
        _PRUNE,
        {"selection": "random_in_stamp_layer"},
        "prune a random filter of the layer that stamp would prune (Hassler 2024, abstract)",
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
        "Flat or Lean U-Net: f filters on every level, trained to convergence (Hassler 2024, abstract)",
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
    "retrain_scratch": Entry(
        "stampbench.strategies.retrain:RetrainScratch",
        {},
        f"architectures of a parent run, retrained from scratch ({_STAMP}, §3.3.3)",
    ),
    "distill": Entry(
        "stampbench.strategies.distill:Distill",
        {},
        "a flat U-Net distilled from a converged standard U-Net (Hinton et al. 2015, §2)",
    ),
}
"""Strategies by name; plug-ins add their own."""


def register(name: str, entry: Entry) -> None:
    """Register a plug-in strategy.

    Raises:
        StrategyError: when another strategy has the name already; the message names the origins of both.
    """
    known = STRATEGIES.get(name)
    # The same unchanged file may be given twice.
    if known is not None and (known.origin is None or (known.origin, known.code) != (entry.origin, entry.code)):
        raise StrategyError(
            f"strategy '{name}' of {entry.origin} ({entry.target}): not registered, because the name is already used "
            f"by {known.origin or 'stampbench'} ({known.target}); choose another name"
        )
    STRATEGIES[name] = entry


def discover() -> Iterator[str]:
    """Register the strategies and selections of installed packages.

    Strategies are imported on first use. Selections are imported immediately, because hyperparameters are
    validated against their names.

    Yields:
        One line for each plug-in that cannot be registered, with the reason.
    """
    for point in metadata.entry_points(group=GROUP):
        origin = _package(point)
        entry = Entry(point.value, origin=origin, code=origin)
        known = STRATEGIES.get(point.name)
        if known is not None and (known.origin, known.target) == (entry.origin, entry.target):
            continue
        try:
            register(point.name, entry)
        except StrategyError as error:
            yield str(error)
    for point in metadata.entry_points(group=SELECTION_GROUP):
        try:
            selection = point.load()
        except _FAILURES as error:
            yield f"{_package(point)}: selection {point.value} cannot be imported ({_one_line(error)})"
            continue
        if problem := register_selection(point.name, selection, _package(point), _package(point)):
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
    """Register the strategies and selections that a Python file defines.

    A strategy is registered under its class name in snake_case. A dictionary `SELECTIONS` in the file registers
    selections under its keys.

    Returns:
        The names of the registered strategies.

    Raises:
        StrategyError: when the file is missing, cannot be imported or defines neither strategies nor selections,
            when a strategy is not valid, or when a name is already used.
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
    except _FAILURES as error:
        del sys.modules[spec.name]
        raise StrategyError(f"plug-in {path}: cannot be imported ({_one_line(error)})") from error
    from stampbench.strategies.base import Strategy

    code = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Strategy) and each.__module__ == module.__name__
    ]
    selections = vars(module).get("SELECTIONS", {})
    if not found and not selections:
        raise StrategyError(
            f"plug-in {path}: defines neither a subclass of stampbench.strategies.base.Strategy nor SELECTIONS"
        )
    for name, selection in selections.items():
        if problem := register_selection(str(name), selection, f"plug-in {path}", code):
            raise StrategyError(problem)
    names = []
    for cls in found:
        name = snake_case(cls.__name__)
        checked = _checked(cls, f"plug-in {path}: {cls.__name__}")
        target = f"{path.name}:{cls.__name__}"
        register(name, Entry(target, origin=f"plug-in {path}", code=code, loaded=checked))
        names.append(name)
    return names


def snake_case(name: str) -> str:
    """Convert a class name such as `MyIdea` to snake_case, `my_idea`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _checked(found: object, what: str) -> type[Strategy]:
    """Return `found` if it is a strategy class that can be created with its defaults."""
    from stampbench.strategies.base import Strategy

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"{what}: not a subclass of stampbench.strategies.base.Strategy")
    if missing := getattr(found, "__abstractmethods__", None):
        raise StrategyError(f"{what}: does not define {', '.join(sorted(missing))}")
    try:
        found()
    except _FAILURES as error:  # besides invalid defaults, pydantic reports errors in the class definition here
        raise StrategyError(
            f"{what}: a hyperparameter has no valid default ({_one_line(error)}); give every field a default"
        ) from error
    return found


def _package(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
