"""Reference pages that are generated from the code when the site is built: command line and strategies."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from strategy_formulas import NOTATION, formulas

BOARD = re.compile(r"^### (?P<title>.+)$", re.MULTILINE)
COLUMNS = ("tier", "strategy", "Dice (95 %)", "Δ to standard (95 %)", "decision")
"""Columns of leaderboards that the page about strategies shows."""


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all commands below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child is not None
            yield from commands(child, f"{name} {each}")


def cli_page(root: click.Command) -> str:
    """Return the page about all commands, with their options."""
    parts = [
        "# Command line",
        "Generated from the code. `stampbench COMMAND --help` prints the same. An error that a user can cause is one"
        " line with exit code 2.",
    ]
    for name, command in commands(root, "stampbench"):
        context = click.Context(command, info_name=name)
        pieces = " ".join(command.collect_usage_pieces(context))
        parts += [f"## {name}", f"    {name} {pieces}", *_help(command)]
        options = [each for each in command.get_params(context) if isinstance(each, click.Option) and not each.hidden]
        if rows := [(_names(each, context), _meaning(each, context)) for each in options]:
            parts.append(table(("option", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command) -> Iterator[str]:
    """Yield the paragraphs of a help text; those that click does not wrap become code."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "\n".join(f"    {line}" for line in paragraph.splitlines()[1:])
        else:
            yield escape(" ".join(paragraph.split()))


def _names(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{each}`" for each in (*option.opts, *option.secondary_opts))
    metavar = "" if option.is_flag or option.count else option.make_metavar(context)
    return f"{names} `{metavar}`" if metavar else names


def _meaning(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return escape(" ".join(record[1].split())) if record else ""


def strategies_page(boards: Path, captions: dict[str, str]) -> str:
    """Return the page about all built-in strategies: paper, formulas, hyperparameters, trajectory, published rows.

    Args:
        boards: the published `boards.md`.
        captions: captions of the figures of trajectories by strategy, which are beside the page in `trajectories/`.
    """
    from stampbench.strategies.registry import STRATEGIES

    rows = published_rows(boards.read_text())
    parts = [
        "# All strategies",
        "Generated from the registry. [Strategies](../strategies.md) explains STAMP beside its paper, what each run is"
        " charged for, and how to add a strategy. Rows come from the"
        " [published leaderboards](../leaderboards/boards.md), with their limits:"
        " [what these runs say](../leaderboards/README.md). Figures show what a strategy does with the protocol `cpu`,"
        " and not how good it is: each is one published run, or a dry run. Strategies without a figure make one"
        " checkpoint, at the end of a training to convergence.",
        NOTATION,
    ]
    for name, entry in STRATEGIES.items():
        if entry.origin is not None:
            continue
        kind = entry.load()
        parts += [
            f"## {name}",
            escape(entry.describe()),
            escape(" ".join(inspect.cleandoc(kind.__doc__ or "").split())),
        ]
        values = {field: info.default for field, info in kind.model_fields.items()} | dict(entry.preset)
        parts.append("\n".join(f"    {formula}" for formula in formulas(kind.__name__, values)))
        if name in captions:
            parts.append(f"![Trajectory of {captions[name]}](trajectories/{name}.svg)")
        parts.append(f"Class `{kind.__module__}.{kind.__name__}`. Defaults that differ by name are set in bold.")
        fields = [_hyperparameter(field, info, entry.preset) for field, info in kind.model_fields.items()]
        parts.append(table(("hyperparameter", "default", "values", "meaning"), fields))
        header, found = (
            ("leaderboard", "tier", "row", "Dice (95 %)", "Δ to standard (95 %)", "decision"),
            rows.get(name),
        )
        parts.append(table(header, found) if found else "No published runs.")
    return "\n\n".join(parts) + "\n"


def _hyperparameter(name: str, about: Any, preset: Any) -> tuple[str, ...]:
    default = f"**{preset[name]}**" if name in preset else str(about.default)
    choices = typing.get_args(about.annotation) if typing.get_origin(about.annotation) is typing.Literal else ()
    values = ", ".join(map(str, choices)) or getattr(about.annotation, "__name__", str(about.annotation))
    return f"`{name}`", default, escape(values), escape(about.description or "")


def published_rows(text: str) -> dict[str, list[tuple[str, ...]]]:
    """Return a few columns of the rows of all leaderboards in `boards.md`, by strategy; variants belong to theirs."""
    found: dict[str, list[tuple[str, ...]]] = {}
    titles = list(BOARD.finditer(text))
    for title, following in zip(titles, [*titles[1:], None], strict=True):
        block = text[title.end() : following.start() if following else None]
        lines = [
            [cell.strip() for cell in line.strip("| ").split("|")] for line in block.splitlines() if line[:1] == "|"
        ]
        if not lines or not set(COLUMNS) <= set(lines[0]):  # such as the table over several datasets
            continue
        columns = [lines[0].index(name) for name in COLUMNS]
        for line in lines[2:]:
            cells = tuple(line[column] for column in columns)
            found.setdefault(cells[1].partition(" ")[0], []).append((escape(title["title"]), *cells))
    return found


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *rows))


def escape(text: str) -> str:
    """Return a text of the code as markdown: FOLDER<N> and a | b are no markup, `code` in backticks is kept."""
    return re.sub(r"(`[^`]*`)|([|<>*_\\[\]])", lambda found: found[1] or f"\\{found[2]}", text)
