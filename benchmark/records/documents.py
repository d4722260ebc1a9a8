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
_BEGIN = re.compile(r"^<!-- stampbench ", re.MULTILINE)
_BLOCK = re.compile(
    r"^(<!-- (stampbench (?!figure )[^\n]*?) -->\n)(?:(?!<!-- stampbench ).)*?^(<!-- end -->)", re.DOTALL | re.MULTILINE
)
_FIGURE = re.compile(r"^<!-- (stampbench figure [^\n]*?) -->\n!\[[^\]\n]*\]\(([^)\n]*\.svg)\)", re.MULTILINE)
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")
_ID = re.compile(r"\b[a-z][0-9a-f]{10}\b")
"""Of a marker or a clipping path in matplotlib's SVG: a hash of its numbers."""


def rendered(path: Path) -> str:
    """A markdown document with what the command of every block prints now.

    A block begins with the comment `<!-- stampbench compare … -->`, a line of its own, and ends with `<!-- end -->`.
    A figure is such a comment in the line above its picture.

    Raises:
        UserError: the document cannot be read, a command that is not allowed or fails, or that has neither end nor
            picture.
    """
    text = _text(path)
    if len(_BEGIN.findall(text)) != len(_BLOCK.findall(text)) + len(_FIGURE.findall(text)):
        raise UserError(f"{path}: a command needs the line '<!-- end -->' below it, or a figure the line '![…](….svg)'")
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_printed(block[2], path)}\n{block[3]}", text)


def drift(path: Path) -> list[str]:
    """The lines in which a document differs from what would be rendered, as a diff; none: it is up to date."""
    diff = difflib.unified_diff(_text(path).splitlines(), rendered(path).splitlines(), lineterm="", n=1)
    return list(diff)[2:]  # without the names of files


def stale_figures(path: Path) -> dict[Path, str]:
    """What the commands above a document's pictures draw now, by the picture's file, where that looks different.

    Raises:
        UserError: the document cannot be read, or a command fails.
    """
    stale = {}
    for command, picture in _FIGURE.findall(_text(path)):
        with tempfile.TemporaryDirectory() as folder:
            new, old = Path(folder) / "figure.svg", path.parent / picture
            _run([*_words(command, path), "--output", str(new)], path, command)
            drawn = new.read_text()
        if not old.is_file() or not _alike(old.read_text(), drawn):
            stale[old] = drawn
    return stale


def _alike(one: str, other: str) -> bool:
    """Words and numbers are equal, and places but for rounding, in which processors differ."""
    if re.findall(">([^<]*)<", one) != re.findall(">([^<]*)<", other):
        return False
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
    words = _words(command, path)
    if words[0] not in ALLOWED:
        raise UserError(f"{path}: '{command}': a document may hold what {' or '.join(ALLOWED)} prints")
    return _run(words, path, command)


def _words(command: str, path: Path) -> list[str]:
    try:
        return shlex.split(command)[1:]
    except ValueError as error:
        raise UserError(f"{path}: '{command}': {error}") from error


def _run(words: list[str], path: Path, command: str) -> str:
    from stampbench.benchmark.cli.main import cli

    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise UserError(f"{path}: '{command}': {result.exception}") from result.exception
    return result.stdout
