"""The strategies that are known by name: compositions of start, schedule, selection and dropout."""

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
SELECTION_GROUP = "stampbench.selections"

SELECTION_CODES: dict[str, str] = {}
"""Which version of each selection from outside; it becomes part of a run's id."""


class Entry(NamedTuple):
    """A strategy's class as `module:Class`, resolved when used, and the hyperparameters its name stands for.

    `origin` says where a strategy from outside comes from, `code` which version of it; both are None for ours.
    """

    target: str
    preset: Mapping[str, Any] = {}
    summary: str = ""
    origin: str | None = None
    code: str | None = None
    loaded: type[Strategy] | None = None

    def load(self) -> type[Strategy]:
        """Import the class.

        Raises:
            StrategyError: a plug-in that cannot be imported, or is no strategy.
        """
        if self.loaded is not None:
            return self.loaded
        module, _, name = self.target.partition(":")
        try:
            found = getattr(import_module(module), name)
        except Exception as error:  # a plug-in may fail in any way
            if self.origin is None:
                raise
            raise StrategyError(f"{self.origin}: {self.target} cannot be imported ({_one_line(error)})") from error
        return _checked(found, f"{self.origin or 'stampbench'}: {self.target}")

    def describe(self) -> str:
        """A line for lists."""
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
        "a random filter of the largest layer, no ranking (Hassler 2024, abstract)",
    ),
    "random_stamp_layer": Entry(
        _PRUNE,
        {"selection": "random_in_stamp_layer"},
        "a random filter of the layer that stamp would prune (Hassler 2024, abstract)",
    ),
    "random_uniform": Entry(
        _PRUNE, {"selection": "random_uniform"}, "any filter at random (the Random mode of STAMP's code)"
    ),
    "depgraph": Entry(
        _PRUNE,
        {"importance": "group_l2", "prune_upconvs": True},
        "stamp's schedule with Torch-Pruning's group L2 importance (Fang et al. 2023, §3.2); extra depgraph",
    ),
    "flat": Entry(
        _STANDARD,
        {"shape": "flat"},
        "Flat or Lean U-Net: f filters everywhere, to convergence (Hassler 2024, abstract)",
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
        f"the shapes another strategy passed through, trained from scratch ({_STAMP}, §3.3.3)",
    ),
    "distill": Entry(
        "stampbench.strategies.distill:Distill",
        {},
        "a flat student of a converged standard U-Net (Hinton et al. 2015, §2)",
    ),
}


def register(name: str, entry: Entry) -> None:
    """Add a strategy from outside.

    Raises:
        StrategyError: the name is taken; both origins are named.
    """
    taken = STRATEGIES.get(name)
    # The same file, unchanged, may be named twice.
    if taken is not None and (taken.origin is None or (taken.origin, taken.code) != (entry.origin, entry.code)):
        raise StrategyError(
            f"strategy '{name}' of {entry.origin} ({entry.target}) is not added: the name is taken by "
            f"{taken.origin or 'stampbench'} ({taken.target})"
        )
    STRATEGIES[name] = entry


def discover() -> Iterator[str]:
    """Register the strategies and selections of installed packages; yields a line for each that cannot be.

    Strategies are imported only when used; selections at once, because hyperparameters are checked against them.
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
        except Exception as error:  # a plug-in may fail in any way
            yield f"{_package(point)}: selection {point.value} cannot be imported ({_one_line(error)})"
            continue
        if problem := register_selection(point.name, selection, _package(point), _package(point)):
            yield problem


def register_selection(name: str, selection: Any, origin: str, code: str) -> str | None:
    """Add a selection from outside; returns the line that says why it cannot be."""
    from stampbench.strategies.selection import SELECTIONS

    if not callable(selection):
        return f"selection '{name}' of {origin} is not added: it is no function"
    if SELECTIONS.setdefault(name, selection) is not selection:
        taken = SELECTION_CODES.get(name) or SELECTIONS[name].__module__
        return f"selection '{name}' of {origin} is not added: the name is taken by {taken}"
    SELECTION_CODES[name] = code
    return None


def load_plugin(path: Path) -> list[str]:
    """Register the strategies that a Python file defines, by the snake_case of their class names; returns the names.

    A dict `SELECTIONS` in the file adds selections by its keys.

    Raises:
        StrategyError: the file is missing, cannot be imported, defines no strategy, or a name is taken.
    """
    if not path.is_file():
        raise StrategyError(f"plug-in {path}: no such file")
    spec = util.spec_from_file_location(f"stampbench_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise StrategyError(f"plug-in {path}: is no Python file")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks up postponed annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a plug-in may fail in any way
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
        raise StrategyError(f"plug-in {path}: defines no subclass of stampbench.strategies.base.Strategy")
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
    """`MyIdea` → `my_idea`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _checked(found: object, what: str) -> type[Strategy]:
    from stampbench.strategies.base import Strategy

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        raise StrategyError(f"{what} is no subclass of stampbench.strategies.base.Strategy")
    if missing := getattr(found, "__abstractmethods__", None):
        raise StrategyError(f"{what} does not define {', '.join(sorted(missing))}")
    try:
        found()
    except Exception as error:  # pydantic may also find the class itself at fault
        raise StrategyError(f"{what} has a hyperparameter without a valid default ({_one_line(error)})") from error
    return found


def _package(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
