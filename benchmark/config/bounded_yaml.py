"""YAML that other people may have written, with limits of size, depth, aliases and digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.errors import UserError

_MOST_BYTES = 100_000
_MOST_VALUES = 20_000
"""Most keys and values of a file, each alias counted with everything that it stands for."""
_DEEPEST = 20
_MOST_DIGITS = 40
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """Return the content of a YAML file, and its tree of nodes, which know their lines.

    Raises:
        UserError: when the file cannot be read, is not valid YAML, or exceeds a limit; the message names the line.
    """
    try:
        loader = yaml.SafeLoader(read_bounded(path, _MOST_BYTES).decode())
        tree = loader.get_single_node()
        _check(tree, path)
        return None if tree is None else loader.construct_document(tree), tree
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except RecursionError:
        raise UserError(f"{path}: not valid YAML (nested too deeply)") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML ({error.problem})") from error
    except Exception as error:  # values that do not fit their tags raise all kinds of exceptions
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error


def _check(tree: yaml.Node | None, path: Path) -> None:
    """Check the limits before anything is constructed, because an alias multiplies what it stands for."""
    waiting = [] if tree is None else [(tree, 1)]
    count = 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        where = f"{path}:{node.start_mark.line + 1}"
        if depth > _DEEPEST:
            raise UserError(f"{where}: nested more than {_DEEPEST} deep, or an alias contains itself")
        if count > _MOST_VALUES:
            raise UserError(f"{where}: more than {_MOST_VALUES:,} keys and values, aliases included")
        if node.tag in _NUMBERS and len(node.value) > _MOST_DIGITS:
            raise UserError(f"{where}: a number has {len(node.value):,} characters; at most {_MOST_DIGITS}")
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= each <= "\udfff" for each in node.value):
            raise UserError(f"{where}: a text holds half of a character (a surrogate), which no file can be named by")
        if isinstance(node, yaml.MappingNode):
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
            if twice := [key for key, number in keys.items() if number > 1]:
                raise UserError(f"{where}: the key '{twice[0]}' is there twice")
        waiting += [(child, depth + 1) for child in _children(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
