"""Tables whose columns and order a reader can choose, as markdown, CSV, JSON, LaTeX, or for a terminal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from tabulate import tabulate

from stampbench.reports.escape import latex, markdown, one_line, spreadsheet

_PAGE = 75
"""Characters of a small line of LaTeX; between two columns are three."""
_SHORT = 16
"""Characters of a cell in LaTeX that is never wrapped."""
_MANY = 5
"""Columns of a table in LaTeX above which they stand closer."""
_DIVISIBLE = re.compile(r"\\_|=")
_RAGGED = r"\rightskip=0pt plus 3em\relax "
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")


class UnknownColumnError(ValueError):
    """A table has no column of this name."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        super().__init__(f"no column '{name}'; columns: {', '.join(known)}")


class Listing(NamedTuple):
    """A table as numbers and as text.

    Attributes:
        title: what it is about; empty if it needs no title.
        values: numbers and texts, by column.
        texts: the same cells as readers see them.
        titles: headings by column.
        left: columns that are aligned to the left.
        notes: paragraphs below the table.
        short: columns that fit a terminal or a page; empty: all.
        caption: caption in LaTeX; empty: the title.
        hidden: columns that only CSV and JSON have, unless somebody names them.
    """

    title: str
    values: pd.DataFrame
    texts: pd.DataFrame
    titles: Mapping[str, str]
    left: Collection[str]
    notes: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    caption: str = ""
    hidden: Collection[str] = ()

    @property
    def visible(self) -> list[str]:
        """The columns that are not hidden."""
        return [name for name in self.titles if name not in self.hidden]

    def arranged(
        self, columns: Sequence[str] = (), sort: str | None = None, *, short: bool = False, everything: bool = False
    ) -> Listing:
        """Return the table with some columns, in another order of rows.

        Args:
            columns: columns in their order; empty: the visible ones, or the short ones, or all.
            sort: column to sort by, with a minus before it for descending order; None: as it is. Missing values come
                last.
            short: whether the short columns are taken if none are named.
            everything: whether hidden columns are taken, too, if none are named.

        Raises:
            UnknownColumnError: when there is no such column.
        """
        key = (sort or "").removeprefix("-")
        for name in (*columns, *([key] if key else [])):
            if name not in self.titles:
                raise UnknownColumnError(name, self.titles)
        values = self.values
        if key:
            values = values.sort_values(key, ascending=not str(sort).startswith("-"), kind="stable", na_position="last")
        usual = self.titles if everything else self.short if short and self.short else self.visible
        chosen = list(columns or usual)
        return self._replace(values=values[chosen], texts=self.texts.loc[values.index, chosen])


def plain_text(value: Any, form: str = "") -> str:
    """Return a value as readers see it: a dash if it is missing, `empty` for the distance of an empty mask.

    Args:
        value: the value.
        form: format of numbers; empty: as they are.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "empty"
    return format(value, form) if form else f"{value:.4g}" if isinstance(value, float) else str(value)


def to_markdown(listings: Sequence[Listing]) -> str:
    """Return markdown with title, table and notes of each."""
    return "\n".join(
        "\n\n".join(
            [
                *([f"### {markdown(each.title)}"] if each.title else []),
                _markdown_table(each),
                *map(markdown, each.notes),
            ]
        )
        + "\n"
        for each in listings
    )


def _markdown_table(listing: Listing) -> str:
    rows = [[markdown(cell) for cell in row] for row in listing.texts.to_numpy().tolist()]
    titles = [markdown(listing.titles[name]) for name in map(str, listing.texts)]
    sides = ["left" if name in listing.left else "right" for name in listing.texts]
    # tabulate 0.9 fails on the sides of a table without rows.
    return tabulate(rows, titles, tablefmt="github", disable_numparse=True, colalign=sides if rows else None)


def to_csv(listings: Sequence[Listing]) -> str:
    """Return one CSV table; if there are several, the first column holds the title."""
    tables = [each.values if len(listings) == 1 else each.values.assign(table=each.title) for each in listings]
    joined = pd.concat(tables, ignore_index=True)
    first = [name for name in joined if name == "table"]
    return str(spreadsheet(joined[[*first, *(name for name in joined if name != "table")]]).to_csv(index=False))


def to_json(listings: Sequence[Listing]) -> str:
    """Return a JSON list of tables with title, notes and rows."""
    tables = [
        {"title": each.title, "notes": each.notes, "rows": json.loads(each.values.to_json(orient="records"))}
        for each in listings
    ]
    return json.dumps(tables, indent=1) + "\n"


def to_latex(listings: Sequence[Listing]) -> str:
    """Return a LaTeX `table` for each, with `booktabs` rules; the caption says what a reader has to know."""
    return "\n".join(map(_latex_table, listings))


def _latex_table(listing: Listing) -> str:
    columns = _latex_columns(listing)
    rows = [
        [_latex_cell(cell, kind) for cell, kind in zip(row, columns, strict=True)]
        for row in listing.texts.to_numpy().tolist()
    ]
    wrapped = not set(columns) <= {"l", "r"}
    size = r"\footnotesize" if wrapped else r"\small"
    close = r"\setlength{\tabcolsep}{3pt}" if wrapped or len(columns) > _MANY else ""
    lines = [
        *([f"% {one_line(' '.join(listing.notes))}"] if listing.notes else []),
        r"\begin{table}",
        rf"\centering{size}{close}",
        f"\\caption{{{latex(listing.caption or listing.title)}}}",
        f"\\begin{{tabular}}{{{''.join(columns)}}}",
        r"\toprule",
        " & ".join(latex(listing.titles[name]) for name in map(str, listing.texts)) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_columns(listing: Listing) -> list[str]:
    """Return the kinds of columns; where they do not fit the page, those with the longest texts are wrapped."""
    names = list(map(str, listing.texts))
    lengths = {name: max(len(listing.titles[name]), *listing.texts[name].map(len), 1) for name in names}
    room = _PAGE - 3 * len(names)
    wrapped = {name: length for name, length in lengths.items() if length > _SHORT and sum(lengths.values()) > room}
    left = max(room - sum(length for name, length in lengths.items() if name not in wrapped), room // 3) / _PAGE
    weights = {name: min(length, _PAGE) for name, length in wrapped.items()}
    widths = {name: left * weight / sum(weights.values()) for name, weight in weights.items()}
    return [
        rf"p{{{widths[name]:.2f}\linewidth}}" if name in widths else "l" if name in listing.left else "r"
        for name in names
    ]


def _latex_cell(text: str, column: str) -> str:
    """Return a cell for LaTeX, in which a minus is no hyphen; a wrapped one is ragged, and its names may be divided."""
    cell = _MINUS.sub("$-$", latex(text))
    if column in ("l", "r"):
        return cell
    return _RAGGED + _DIVISIBLE.sub(r"\g<0>\\allowbreak{}", cell)


FORMATS: dict[str, Callable[[Sequence[Listing]], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
"""Functions that format tables, by the name of the format."""
