"""Grids of runs as YAML, read and checked."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError, field_validator

from stampbench.benchmark.config.resolve import DatasetRequest
from stampbench.benchmark.errors import UserError, unknown

FOLDER = Path(__file__).parent / "suites"


class StrategyEntry(BaseModel, frozen=True, extra="forbid"):
    """A strategy with hyperparameters set to one value, or to each of several in a grid."""

    name: str
    set: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    def settings(self) -> Iterator[list[str]]:
        """`key=value` lists, one per point of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield [f"{key}={value}" for key, value in (self.set | dict(zip(self.grid, values, strict=True))).items()]


class Block(BaseModel, frozen=True, extra="forbid"):
    """strategies × datasets × training sizes × folds × seeds under one protocol.

    An entry of `strategies` is a name or has `name`, `set` and `grid`; one of `datasets` is a name or folder, or
    has `name`, `spatial_dims`, `subject_pattern`, `image_size` and `patch_size`.
    """

    strategies: list[StrategyEntry] = []
    datasets: list[DatasetRequest] = []
    n_train: list[str] = ["all"]
    folds: str = "all"
    seeds: list[NonNegativeInt] = [0]
    protocol: str = "paper"
    protocol_set: dict[str, Any] = {}

    @field_validator("strategies", "datasets", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return [{"name": each} if isinstance(each, str) else each for each in value] if _is_list(value) else value

    @field_validator("n_train", mode="before")
    @classmethod
    def _sizes(cls, value: Any) -> Any:
        return [str(each) for each in (value if _is_list(value) else [value])]

    @field_validator("folds", mode="before")
    @classmethod
    def _folds(cls, value: Any) -> Any:
        return ",".join(map(str, value)) if _is_list(value) else str(value)


class Suite(Block, frozen=True, extra="forbid"):
    """A block with a name and a reason, and `runs`: blocks that each change some of it, instead of it.

    `quick` is what changes for the variant that takes hours instead of weeks.
    """

    name: str = "unnamed"
    summary: str = ""
    source: str = Field("", description="the experiment's paper and figure or table")
    paper: list[str] = Field(default=[], description="what the paper found, where its text gives numbers")
    extends: str | None = None
    runs: list[dict[str, Any]] = []
    quick: dict[str, Any] = {}

    def blocks(self) -> list[Block]:
        """Raises:
        ValidationError: an entry of `runs` that is no block.
        """
        common = self.model_dump(include=set(Block.model_fields))
        return [Block.model_validate(common | each) for each in self.runs] or [Block.model_validate(common)]


class Document(NamedTuple):
    """A suite, and where each of its keys stands."""

    suite: Suite
    path: Path
    lines: Mapping[tuple[str | int, ...], int]

    def place(self, *keys: str | int) -> str:
        """`file:line` of a key, or of what holds it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines.get(keys, 1)}"


def names() -> list[str]:
    """The suites that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(text: str, *, quick: bool = False) -> Document:
    """A suite of the package by name, or anyone's by file.

    Raises:
        UserError: no such suite, or one that is not valid; the message names file, line and nearest key.
    """
    path = FOLDER / f"{text}.yaml"
    if not path.is_file():
        path = Path(text)
        if path.suffix not in (".yaml", ".yml"):
            raise unknown("suite", text, [*names(), "a .yaml file"])
    content, lines = _read(path, ())
    if quick:
        changes = content.get("quick") or {}
        if not isinstance(changes, dict):
            raise UserError(f"{path}:{lines.get(('quick',), 1)}: quick is not a mapping of keys such as folds")
        content |= changes
        lines = {(keys[1:] if keys[:1] == ("quick",) and len(keys) > 1 else keys): line for keys, line in lines.items()}
    document = Document(Suite(), path, lines)
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise _explained(document, error, ()) from None
    document = document._replace(suite=suite)
    for index, each in enumerate(suite.runs):
        try:
            Block.model_validate(each)
        except ValidationError as error:
            raise _explained(document, error, ("runs", index)) from None
    if not any(block.strategies and block.datasets for block in suite.blocks()):
        raise UserError(f"{path}: names no strategy, or no dataset")
    return document


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[tuple[str | int, ...], int]]:
    """A file's content over that of the suite it extends, and the lines of its own keys."""
    if path in seen:
        raise UserError(f"{path}: extends itself")
    try:
        text = path.read_text()
        content, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: is not valid YAML ({error.problem})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a mapping of keys such as strategies and datasets")
    content.setdefault("name", path.stem)
    try:
        lines = dict(_lines(tree, ()))
    except RecursionError:
        raise UserError(f"{path}: is not valid YAML (an alias holds itself)") from None
    if (parent := content.get("extends")) is not None:
        base = FOLDER / f"{parent}.yaml"
        base = base if base.is_file() else path.parent / str(parent)
        if not base.is_file():
            raise unknown(f"suite that {path}:{lines.get(('extends',), 1)} extends", str(parent), names())
        inherited, _ = _read(base, (*seen, path))
        content = inherited | content
    return content, lines


def _lines(node: yaml.Node | None, keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if node is None:
        return
    yield keys, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*keys, key.value))
            yield (*keys, key.value), key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*keys, index))


def _explained(document: Document, error: ValidationError, within: tuple[str | int, ...]) -> UserError:
    first = error.errors()[0]
    keys = (*within, *first["loc"])
    where = document.place(*keys)
    name = ".".join(map(str, keys))
    if first["type"] == "extra_forbidden":
        known = _known(keys)
        close = difflib.get_close_matches(str(keys[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return UserError(f"{where}: unknown key '{name}'; {hint}known: {', '.join(known)}")
    problem = first["msg"].removeprefix("Value error, ")
    return UserError(f"{where}: {name}={first['input']!r}: {problem[0].lower()}{problem[1:]}")


def _known(keys: Sequence[str | int]) -> list[str]:
    for part, model in (("strategies", StrategyEntry), ("datasets", DatasetRequest)):
        if part in keys[:-1]:
            return list(model.model_fields)
    return list((Block if "runs" in keys[:-1] else Suite).model_fields)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)
