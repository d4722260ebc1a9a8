"""Options and printing of tables: short on a terminal, markdown in a pipe, and the formats that a user chooses."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stampbench.benchmark.cli.common import echo
from stampbench.benchmark.cli.parsing import parse_names
from stampbench.benchmark.errors import UserError, unknown
from stampbench.reports.escape import markdown, one_line

if TYPE_CHECKING:
    from stampbench.reports.listing import Listing


class FormatName(click.Choice[str]):
    """The format of a table; `markdown` is another name of `md`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of the format."""
        return super().convert("md" if value == "markdown" else value, param, ctx)


class TableStyle(NamedTuple):
    """What a user wants of a table: format (None: short on a terminal, else markdown), columns, and order of rows."""

    style: str | None = None
    columns: tuple[str, ...] = ()
    sort: str | None = None

    @property
    def plain(self) -> bool:
        """Whether columns and order are those of the command."""
        return not self.columns and self.sort is None

    def check(self, known: Iterable[str]) -> None:
        """Check the columns before the work that makes the table.

        Raises:
            UserError: when a column is unknown.
        """
        names = list(known)
        for name in (*self.columns, *([self.sort.removeprefix("-")] if self.sort else [])):
            if name not in names:
                raise unknown("column", name, names)

    def format_for(self, *, file: bool = False) -> str:
        """Return the format: the chosen one, else `short` on a terminal and `md` elsewhere.

        Args:
            file: whether the table is written to a file.

        Raises:
            UserError: when the chosen format has no file.
        """
        if file and self.style == "short":
            raise UserError("--format 'short' is for the screen; with --output: md, csv, json or latex")
        return self.style or ("short" if not file and sys.stdout.isatty() else "md")


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables; the command gets them as `table`."""

    @functools.wraps(command)
    def wrapped(*, style: str | None, columns: str | None, sort: str | None, **values: Any) -> Any:
        names = tuple(parse_names(columns or ""))
        twice = [name for number, name in enumerate(names) if name in names[:number]]
        if twice:
            raise UserError(f"--columns '{columns}': '{twice[0]}' is named twice")
        if sort is not None and not sort.removeprefix("-").strip():
            raise UserError(f"--sort '{sort}' names no column")
        return command(table=TableStyle(style, names, sort), **values)

    for option in (
        click.option("--sort", help="Sort rows by this column; with a minus before it, from high to low"),
        click.option("--columns", help="Columns separated by commas, as the header of --format csv names them"),
        click.option(
            "--format",
            "style",
            type=FormatName(["short", "md", "csv", "json", "latex"]),
            help="Format of the tables  [default: short on a terminal, else md]",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def arranged(listings: Sequence[Listing], table: TableStyle, style: str) -> list[Listing]:
    """Return tables with the columns and the order that a user wants.

    Args:
        listings: the tables.
        table: what the user wants.
        style: the format, which decides about columns if none are named.

    Raises:
        UserError: when a column is unknown.
    """
    for each in listings:
        table.check(each.titles)
    short, everything = style in ("short", "latex"), style in ("csv", "json")
    return [each.arranged(table.columns, table.sort, short=short, everything=everything) for each in listings]


def print_listings(listings: Sequence[Listing], table: TableStyle) -> None:
    """Print tables in the format that a user chose."""
    style = table.format_for()
    if style == "short":
        for each in arranged(listings, table, style):
            print_short(each)
    elif listings:
        echo(formatted(listings, table, style), nl=False)


def print_rows(
    titles: Mapping[str, str], parts: Mapping[str, Sequence[Sequence[str]]], table: TableStyle,
    short: Sequence[str] = (),
) -> None:  # fmt: skip
    """Print tables of texts; the usual formats import no pandas, which would take longer than everything else.

    Args:
        titles: headings by column.
        parts: the rows of each table by its title, which may be empty.
        table: format, columns and order.
        short: columns that fit a terminal; empty: all.
    """
    style = table.format_for()
    if not table.plain or style not in ("short", "md"):
        import pandas as pd

        from stampbench.reports.listing import Listing

        frames = {title: pd.DataFrame(rows, columns=list(titles)) for title, rows in parts.items()}
        listings = [
            Listing(title, frame, frame, titles, tuple(titles), short=tuple(short)) for title, frame in frames.items()
        ]
        print_listings(listings, table)
        return
    shown = [number for number, name in enumerate(titles) if style == "md" or not short or name in short]
    heads = [list(titles.values())[number] for number in shown]
    for number, (title, rows) in enumerate(parts.items()):
        cells = [[row[number] for number in shown] for row in rows]
        if style == "short":
            print_grid([(head, True) for head in heads], cells, title=title)
        else:
            echo(f"{chr(10) if number else ''}{f'### {title}{2 * chr(10)}' if title else ''}{_github(heads, cells)}")


def _github(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    cells = [[markdown(cell) for cell in row] for row in rows]
    return tabulate(cells, heads, tablefmt="github", disable_numparse=True)


def formatted(listings: Sequence[Listing], table: TableStyle, style: str) -> str:
    """Return tables as text of a format, `short` excepted.

    Args:
        listings: the tables.
        table: columns and order that a user wants.
        style: the format.
    """
    from stampbench.reports.listing import FORMATS

    return FORMATS[style](arranged(listings, table, style))


def print_short(listing: Listing, *, title: str | None = None, notes: Sequence[str] | None = None) -> None:
    """Print a table that fits the terminal.

    Args:
        listing: the table.
        title: title above it; None: its own.
        notes: paragraphs below it; None: its own.
    """
    names = [str(name) for name in listing.texts]
    heads = [(listing.titles[name], name in listing.left) for name in names]
    print_grid(heads, listing.texts.to_numpy().tolist(), title=listing.title if title is None else title)
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for note in listing.notes if notes is None else notes:
        console.print(Text(one_line(note), style="dim"))


def print_grid(heads: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print rows under headings; the first column and columns of sentences are wrapped where the terminal ends.

    Args:
        heads: for each column its heading, and whether it is aligned to the left.
        rows: the cells.
        title: line above the table; empty: none.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if title:
        console.print(Text(one_line(title), style="bold"))
    if not rows:
        return
    longest = [max(len(heading), *(len(row[number]) for row in rows)) for number, (heading, _) in enumerate(heads)]
    narrow = sum(longest) + 2 * len(heads) > console.width  # then texts are wrapped, before a column disappears
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, (heading, left) in enumerate(heads):
        wraps = longest[number] > (10 if number == 0 or (narrow and left) else 30)
        grid.add_column(
            Text(one_line(heading)), justify="left" if left else "right", no_wrap=not wraps,
            min_width=min(longest[number], 10), overflow="fold",
        )  # fmt: skip
    for cells in rows:
        grid.add_row(*(Text(one_line(cell)) for cell in cells))
    console.print(grid)
