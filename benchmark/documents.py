"""Documents that hold what commands print, and can be rendered again."""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from stampbench.benchmark.errors import UserError

ALLOWED = ("leaderboard", "compare")
"""Commands that only read."""
_BLOCK = re.compile(r"(<!-- (stampbench [^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def rendered(path: Path) -> str:
    """A markdown document with what the command of every block prints now.

    A block begins with the comment `<!-- stampbench compare … -->`, a line of its own, and ends with `<!-- end -->`.

    Raises:
        UserError: the document cannot be read, or a command that is not allowed or fails.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_printed(block[2], path)}\n{block[3]}", text)


def drift(path: Path) -> list[str]:
    """The lines in which a document differs from what would be rendered, as a diff; none: it is up to date."""
    now = rendered(path)
    return list(
        difflib.unified_diff(path.read_text().splitlines(), now.splitlines(), "document", "rendered", "", "", 1)
    )


def _printed(command: str, path: Path) -> str:
    from stampbench.benchmark.cli import cli

    words = shlex.split(command)[1:]
    if not words or words[0] not in ALLOWED:
        raise UserError(f"{path}: '{command}': a document may hold what {' or '.join(ALLOWED)} prints")
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise UserError(f"{path}: '{command}': {result.exception}") from result.exception
    return result.stdout
