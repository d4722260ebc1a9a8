"""Suite files: YAML, read with the line of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from stampbench.benchmark.config.bounded_yaml import read_yaml
from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.suite import Block, Entry, Suite
from stampbench.benchmark.config.validated import explain
from stampbench.benchmark.errors import UserError, hint, unknown

FOLDER = Path(__file__).parent / "suites"
Keys = tuple[str | int, ...]
_MOST_EXTENDED = 10


class SuiteFile(NamedTuple):
    """A suite, its file, and the line of each of its keys."""

    suite: Suite
    path: Path
    lines: Mapping[Keys, int]

    def location(self, *keys: str | int) -> str:
        """Return `file:line` of a key, or of the innermost key that contains it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.path}:{self.lines.get(keys, 1)}"


def suite_names() -> list[str]:
    """Return the names of the package's suites."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_suite(text: str, *, quick: bool = False) -> SuiteFile:
    """Read a suite of the package by name, or any suite by file.

    Raises:
        UserError: when there is no such suite or it is not valid; the message names file, line and nearest key.
    """
    path = FOLDER / f"{text}.yaml"
    if not path.is_file():
        path = Path(text)
        if path.suffix not in (".yaml", ".yml"):
            raise unknown("suite", text, [*suite_names(), "a .yaml file"])
    content, lines = _read(path, ())
    if quick:
        if "quick" not in content:
            raise UserError(f"{path}: the suite has no key 'quick'", setting="quick")
        changes = content["quick"] or {}
        if not isinstance(changes, dict):
            raise UserError(f"{path}:{lines.get(('quick',), 1)}: quick is not a mapping of keys such as folds")
        content |= changes
        lines = {(keys[1:] if keys[:1] == ("quick",) and len(keys) > 1 else keys): line for keys, line in lines.items()}
    file = SuiteFile(Suite(), path, lines)
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise _located(file, error, ()) from None
    file = file._replace(suite=suite)
    for index, each in enumerate(suite.runs):
        try:
            Block.model_validate(each)
        except ValidationError as error:
            raise _located(file, error, ("runs", index)) from None
    if not any(block.strategies and block.datasets for block in suite.blocks()):
        raise UserError(f"{path}: names no strategy, or no dataset")
    return file


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Keys, int]]:
    """Return a file's content merged over that of the suite it extends, and the lines of its own keys."""
    if path in seen:
        raise UserError(f"{path}: extends itself")
    if len(seen) > _MOST_EXTENDED:
        raise UserError(f"{path}: more than {_MOST_EXTENDED} suites extend each other")
    content, lines = _parse(path)
    content.setdefault("name", path.stem)
    if (parent := content.get("extends")) is not None:
        base = FOLDER / f"{parent}.yaml"
        base = base if base.is_file() else path.parent / str(parent)
        if not base.is_file():
            raise unknown(f"suite that {path}:{lines.get(('extends',), 1)} extends", str(parent), suite_names())
        inherited, _ = _read(base, (*seen, path))
        content = inherited | content
    return content, lines


def _parse(path: Path) -> tuple[dict[str, Any], dict[Keys, int]]:
    content, tree = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of keys such as strategies and datasets")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{path}: key {key!r} is not text; keys are words such as strategies and datasets")
    return content, dict(_lines(tree, ()))


def _lines(node: yaml.Node | None, keys: Keys) -> Iterator[tuple[Keys, int]]:
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


def _located(file: SuiteFile, error: ValidationError, within: Keys) -> UserError:
    """Return the error of a suite's first fault, with file and line."""
    first = error.errors()[0]
    keys = (*within, *first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(keys)
        name = ".".join(map(str, keys))
        return UserError(f"{file.location(*keys)}: unknown key '{name}'; {hint(str(keys[-1]), known)}")
    field, problem = explain(error)
    prefix = "".join(f"{key}." for key in within)
    return UserError(f"{file.location(*keys)}: {prefix}{field}{problem}")


def _known_keys(keys: Sequence[str | int]) -> list[str]:
    for part, model in (("strategies", Entry), ("networks", Entry), ("datasets", DatasetRequest)):
        if part in keys[:-1]:
            return list(model.model_fields)
    return list((Block if "runs" in keys[:-1] else Suite).model_fields)
