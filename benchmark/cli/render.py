"""`stampbench render`: documents that contain output and figures of commands."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import echo
from stampbench.benchmark.environment.folder_lock import folder_lock
from stampbench.benchmark.errors import UserError
from stampbench.datasets.atomic_file import write_text


@click.command()
@click.argument("documents", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit code 1 if a document is out of date")
def render(documents: tuple[Path, ...], only_check: bool) -> int:
    """Run the commands in markdown documents, and update their output and figures.

    A block is a comment with a leaderboard, compare or list command, and ends with the comment 'end'. A figure
    is a comment with a figure command on the line above the picture. Nothing but the documents and pictures
    below their folders is written, and only options that choose runs are allowed.

    \b
    Example:
      stampbench render leaderboards/*.md README.md
    """
    stale = [_render(path, only_check=True) if only_check else _render_alone(path) for path in documents]
    return 1 if only_check and any(stale) else 0


def _render_alone(path: Path) -> bool:
    """Render a document while no other process renders one in its folder."""
    if not path.is_file():
        raise UserError(f"{path}: No such file")
    with folder_lock(path.parent):
        return _render(path, only_check=False)


def _render(path: Path, *, only_check: bool) -> bool:
    """Update a document and its figures, or only say what differs; return whether anything differs."""
    from stampbench.benchmark.records.documents import drift, rendered, stale_figures

    lines, figures = drift(path, run_command), stale_figures(path, run_command)
    if lines and not only_check:
        _write(path, rendered(path, run_command))
    for figure, drawn in figures.items():
        if not only_check:
            _write(figure, drawn)
        lines.append(f"{figure}: {'differs' if only_check else 'redrawn'}")
    status = "differs" if only_check else "rendered"
    echo("\n".join([f"{path}: {status}", *lines]) if lines else f"{path}: up to date")
    return bool(lines)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def run_command(words: list[str]) -> str:
    """Run a command of this package in this process and return what it prints.

    Raises:
        UserError: when it fails.
    """
    from click.testing import CliRunner

    from stampbench.benchmark.cli.main import cli

    result = CliRunner().invoke(cli, words, standalone_mode=False)
    if result.exception is not None:
        raise UserError(str(result.exception)) from result.exception
    return result.stdout
