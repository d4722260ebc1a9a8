"""Documents that hold what commands print and draw, and can be rendered again."""

from __future__ import annotations

import difflib
import math
import re
import shlex
import tempfile
from pathlib import Path

from click.testing import CliRunner

from stampbench.benchmark.errors import UserError

ALLOWED = ("leaderboard", "compare")
"""Commands that only read."""
_FIGURE = re.compile(r"<!-- (stampbench figure [^\n]*?) -->")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")
_ID = re.compile(r"\b[a-z][0-9a-f]{10}\b")
"""Of a marker or a clipping path in matplotlib's SVG: a hash of its numbers."""
_BLOCK = re.compile(r"(<!-- (stampbench (?!figure )[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(path: Path) -> str:
    """A markdown document with what the command of every block prints now.

    A block begins with the comment `<!-- stampbench compare … -->`, a line of its own, and ends with `<!-- end -->`.

    Raises:
        UserError: the document cannot be read, or a command that is not allowed or fails.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_printed(block[2], path)}\n{block[3]}", _text(path))


def drift(path: Path) -> list[str]:
    """The lines in which a document differs from what would be rendered, as a diff; none: it is up to date."""
    diff = difflib.unified_diff(_text(path).splitlines(), rendered(path).splitlines(), lineterm="", n=1)
    return list(diff)[2:]  # without the names of files


def stale_figures(path: Path) -> dict[Path, str]:
    """What a document's figure commands draw now, by their `--output`, where it is not what is there.

    A command stands in a comment of its own, `<!-- stampbench figure … --output F.svg -->`.

    Raises:
        UserError: a command fails, or does not say which SVG it makes.
    """
    stale = {}
    for command in _FIGURE.findall(_text(path)):
        words = shlex.split(command)[1:]
        at = words.index("--output") + 1 if "--output" in words[:-1] else 0
        output = Path(words[at])
        if output.suffix != ".svg":
            raise UserError(f"{path}: '{command}': needs --output with the name of an SVG file")
        with tempfile.TemporaryDirectory() as folder:
            words[at] = str(Path(folder) / output.name)
            _run(words, path, command)
            drawn = Path(words[at]).read_text()
        if not output.is_file() or not _alike(output.read_text(), drawn):
            stale[output] = drawn
    return stale


def _alike(one: str, other: str) -> bool:
    """Equal but for rounding, in which processors differ."""
    first, second = (_NUMBER.split(_ID.sub("", text)) for text in (one, other))
    return first[::2] == second[::2] and all(
        math.isclose(float(a), float(b), abs_tol=0.02) for a, b in zip(first[1::2], second[1::2], strict=True)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error


def _printed(command: str, path: Path) -> str:
    words = shlex.split(command)[1:]
    if not words or words[0] not in ALLOWED:
        raise UserError(f"{path}: '{command}': a document may hold what {' or '.join(ALLOWED)} prints")
    return _run(words, path, command)


def _run(words: list[str], path: Path, command: str) -> str:
    from stampbench.benchmark.cli import cli

    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise UserError(f"{path}: '{command}': {result.exception}") from result.exception
    return result.stdout
