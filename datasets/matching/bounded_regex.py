"""Regular expressions that users give, matched in a child process, because Python cannot interrupt one that takes long.

A short expression such as `(a+)+b` can take years for a name of thirty characters.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from stampbench.datasets.errors import DatasetError

SECONDS = 10.0
"""Most seconds for all texts."""
_CHILD = """
import json, re, sys
patterns, texts, function = json.load(sys.stdin)
try:
    finds = [getattr(re.compile(each), function) for each in patterns]
    found = [[match and (match.groups(), match.groupdict()) for match in map(find, texts)] for find in finds]
    result = {"found": found}
except (re.error, OverflowError, RecursionError, MemoryError) as error:
    result = {"error": " ".join(str(error).split()) or type(error).__name__}
json.dump(result, sys.stdout)
"""


class Match(NamedTuple):
    """What the groups of an expression matched in a text, by number and by name; None: nothing."""

    groups: tuple[str | None, ...]
    named: dict[str, str | None]


def search(pattern: str, texts: Sequence[str], *, setting: str | None = None) -> list[Match | None]:
    """Search an expression in each text; return None for texts that it does not match anywhere.

    Args:
        pattern: the expression.
        texts: the texts.
        setting: name of the setting that holds the expression, for errors.

    Raises:
        DatasetError: when it is not a regular expression, or takes too long.
    """
    return _matches([pattern], texts, "search", pattern, setting)[0]


def match_whole(patterns: Sequence[str], texts: Sequence[str], called: str) -> list[list[Match | None]]:
    """Match each expression with the whole of each text; return a list for each expression.

    Args:
        patterns: the expressions.
        texts: the texts.
        called: name of the expressions in errors.

    Raises:
        DatasetError: when one is not a regular expression, or they take too long.
    """
    return _matches(patterns, texts, "fullmatch", called, None)


def _matches(
    patterns: Sequence[str], texts: Sequence[str], function: str, called: str, setting: str | None
) -> list[list[Match | None]]:
    if not texts:
        return [[] for _ in patterns]
    command = [sys.executable, "-I", "-S", "-c", _CHILD]  # without the packages of this environment, it starts at once
    content = json.dumps([patterns, texts, function]).encode()
    try:
        ended = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise DatasetError(
            f"pattern '{called}': takes more than {SECONDS:g} seconds for {len(texts)} names; make it simpler, without "
            "repetitions within repetitions",
            setting=setting,
        ) from None
    except OSError as error:
        raise DatasetError(f"pattern '{called}': cannot be matched ({error.strerror or error})") from error
    if ended.returncode:
        raise DatasetError(f"pattern '{called}': cannot be matched (exit code {ended.returncode})", setting=setting)
    result = json.loads(ended.stdout)
    if "error" in result:
        raise DatasetError(f"pattern '{called}': is not a regular expression ({result['error']})", setting=setting)
    return [[match and Match(tuple(match[0]), match[1]) for match in each] for each in result["found"]]
