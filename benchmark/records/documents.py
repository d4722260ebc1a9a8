"""Markdown documents that contain output and figures of commands, rendered again from these commands."""

from __future__ import annotations

import difflib
import math
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.errors import UserError

Run = Callable[[list[str]], str]
"""Runs a command, given its words after `stampbench`, and returns what it prints; raises UserError if it fails."""

_MOST_BYTES = 1 << 24
"""Largest document, and largest picture."""
_FILTERS = ("--runs", "--dataset", "--n-train", "--protocol", "--label")
ALLOWED = {
    "leaderboard": (
        *_FILTERS,
        "--strategy",
        "--format",
        "--columns",
        "--sort",
        "--answers",
        "--by-class",
        "--max-parameters",
        "--max-flops",
        "--max-latency",
        "--max-epochs",
    ),
    "compare": (*_FILTERS, "--columns", "--sort", "--cases", "--notes", "--no-notes"),
    "figure": (*_FILTERS, "--strategy", "--parameters", "--score"),
    "list": ("--sizes",),
}
"""Commands that a document may contain, each with its options; with these they only read recorded results and names."""
_BEGIN = re.compile(r"^<!-- stampbench ", re.MULTILINE)
_BLOCK = re.compile(
    r"^(<!-- (stampbench (?!figure )[^\n]*?) -->\n)(?:(?!<!-- stampbench ).)*?^(<!-- end -->)", re.DOTALL | re.MULTILINE
)
_FIGURE = re.compile(r"^<!-- (stampbench figure [^\n]*?) -->\n!\[[^\]\n]*\]\(([^)\n]*\.svg)\)", re.MULTILINE)
_WORDS = re.compile(">([^<>]*)<")
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")
_ID = re.compile(r"\b[a-z][0-9a-f]{10}\b")
"""Id of a marker or clipping path in matplotlib's SVG: a hash of its numbers."""


def rendered(path: Path, run: Run) -> str:
    """Return a markdown document with the present output of every block's command.

    A block begins with the comment `<!-- stampbench compare … -->` on a line of its own and ends with
    `<!-- end -->`. A figure is such a comment on the line above its picture.

    Args:
        path: the document.
        run: runs a command.

    Raises:
        UserError: when the document cannot be read, or a command is not allowed, fails, or has neither end nor
            picture.
    """
    text = _text(path)
    if len(_BEGIN.findall(text)) != len(_BLOCK.findall(text)) + len(_FIGURE.findall(text)):
        raise UserError(f"{path}: a command needs the line '<!-- end -->' below it, or a figure the line '![…](….svg)'")
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_printed(block[2], path, run)}\n{block[3]}", text)


def drift(path: Path, run: Run) -> list[str]:
    """Return the diff between a document and its rendered form; an empty list: it is up to date."""
    diff = difflib.unified_diff(_text(path).splitlines(), rendered(path, run).splitlines(), lineterm="", n=1)
    return list(diff)[2:]  # without the file names


def stale_figures(path: Path, run: Run) -> dict[Path, str]:
    """Return the present SVG of every figure that looks different from its file.

    Args:
        path: the document.
        run: runs a command.

    Raises:
        UserError: when the document cannot be read, a command is not allowed or fails, or a picture does not lie in
            the document's folder.
    """
    stale = {}
    for command, picture in _FIGURE.findall(_text(path)):
        old = _beside(path, picture)
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder) / "figure.svg"
            _run([*_words(command, path), "--output", str(new)], path, command, run)
            drawn = new.read_text()
        if not old.exists() or not _alike(_content(path, old).decode(errors="replace"), drawn):
            stale[old] = drawn
    return stale


def _alike(one: str, other: str) -> bool:
    """Return whether words and printed numbers are equal, and coordinates equal to rounding between processors."""
    if _WORDS.findall(one) != _WORDS.findall(other):
        return False
    first, second = (_NUMBER.split(_ID.sub("", text)) for text in (one, other))
    return first[::2] == second[::2] and all(
        math.isclose(float(a), float(b), abs_tol=0.02) for a, b in zip(first[1::2], second[1::2], strict=True)
    )


def _text(path: Path) -> str:
    try:
        return _content(path, path).decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _content(document: Path, path: Path) -> bytes:
    """Return the content of a document or of one of its pictures."""
    try:
        return read_bounded(path, _MOST_BYTES)
    except OSError as error:
        picture = "" if path == document else f"picture {path}: "
        raise UserError(f"{document}: {picture}{error.strerror or error}") from error


def _beside(path: Path, picture: str) -> Path:
    """Return the path of a document's picture, which must lie in the document's folder, links resolved."""
    found = path.parent / picture
    if not found.resolve().is_relative_to(path.parent.resolve()) or found.is_symlink():
        raise UserError(f"{path}: picture '{picture}' lies outside the document's folder {path.parent}")
    return found


def _printed(command: str, path: Path, run: Run) -> str:
    words = _words(command, path)
    if words[0] == "figure":
        raise UserError(f"{path}: '{command}': a figure needs the line '![…](….svg)' below it, and single spaces")
    printed = _run(words, path, command, run)
    if "<!--" in printed:  # the next rendering would read it as a command or as the end of a block
        raise UserError(f"{path}: '{command}': its output contains a comment '<!--', which a document cannot hold")
    return printed


def _words(command: str, path: Path) -> list[str]:
    """Return the words of a command after `stampbench`, checked to be allowed."""
    try:
        words = shlex.split(command)[1:]
    except ValueError as error:
        raise UserError(f"{path}: '{command}': {error}") from error
    if not words or words[0] not in ALLOWED:
        raise UserError(f"{path}: '{command}': a document may contain {', '.join(ALLOWED)} only")
    if words[:2] == ["figure", "segmentations"]:
        raise UserError(f"{path}: '{command}': this figure runs inference; draw it with the command itself")
    for word in words[1:]:
        option = word.partition("=")[0]
        if word.startswith("-") and option not in ALLOWED[words[0]]:
            allowed = ", ".join(ALLOWED[words[0]])
            raise UserError(f"{path}: '{command}': option {option} is not allowed in a document; allowed: {allowed}")
    return words


def _run(words: list[str], path: Path, command: str, run: Run) -> str:
    try:
        return run(words)
    except UserError as error:
        raise UserError(f"{path}: '{command}': {error}") from error
