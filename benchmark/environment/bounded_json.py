"""JSON that other people may have written, with limits of size, depth and digits."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from stampbench.benchmark.environment.bounded_file import read_bounded

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonLimits(NamedTuple):
    """Limits of a JSON text: bytes of the file, depth of brackets, characters of a number."""

    size: int = 1 << 20
    depth: int = 100
    digits: int = 40


_LIMITS = JsonLimits()


def read_json(path: Path, limits: JsonLimits = _LIMITS) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: when it cannot be read, is a symbolic link or no regular file, or is larger than the limit.
        ValueError: when it is not strict JSON in UTF-8, or exceeds a limit.
    """
    return parse_json(read_bounded(path, limits.size, follow=False), limits)


def parse_json(content: bytes, limits: JsonLimits = _LIMITS) -> Any:
    """Return the value of strict JSON in UTF-8: every key once, finite numbers, and text that can be written again.

    Raises:
        ValueError: when it is anything else, or exceeds a limit.
    """
    if len(content) > limits.size:
        raise ValueError(f"larger than {limits.size:,} bytes")
    text = content.decode()
    _check_depth(text, limits.depth)
    value = json.loads(
        text,
        parse_int=lambda digits: int(digits if len(digits) <= limits.digits else _bounded(digits, limits.digits)),
        parse_float=lambda digits: _finite(_bounded(digits, limits.digits)),
        parse_constant=_refuse_constant,
        object_pairs_hook=_unique,
    )
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # half of a character cannot be written again
    return value


def _check_depth(text: str, most: int) -> None:
    """Check the depth before parsing, because the parser recurses."""
    if text.count("[") + text.count("{") <= most:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > most:
            raise ValueError(f"brackets within brackets, more than {most} deep")


def _bounded(digits: str, most: int) -> str:
    if len(digits) > most:
        raise ValueError(f"a number with {len(digits):,} characters, more than {most}")
    return digits


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice[:40]}' is there twice")
    return found
