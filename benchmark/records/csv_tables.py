"""Parsing of the CSV files of records and published tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd

_TEXT = dict.fromkeys(
    ("run", "group", "dataset", "dataset_version", "data_checksum", "form", "unit", "protocol", "name", "strategy",
     "hyperparameters", "parents", "case", "subject", "class", "empty", "widths", "vanished", "architecture", "network",
     "backend", "precision", "layout", "shape", "processor", "device", "driver", "clock", "torch", "measured"), str,
)  # fmt: skip
"""Columns that are text, because a case or class may be called "NA"; only numbers can be missing."""
_RENAMED = {"sources": "parents", "source_epochs": "parent_epochs"}
"""Columns of older published tables, and their present names."""


def parse_csv(content: bytes) -> pd.DataFrame:
    """Return a table with text and number columns; an empty file gives an empty table.

    Raises:
        ValueError: when the content is not a table.
    """
    if not content.strip():
        return pd.DataFrame()
    table = pd.read_csv(io.BytesIO(content), dtype=_TEXT, keep_default_na=False).rename(columns=_RENAMED)
    for name in table.columns.difference(list(_TEXT)):
        if table[name].dtype == object or str(table[name].dtype) == "str":
            table[name] = _numbers(table[name])
    if "parents" in table:  # it may be read as numbers under its older name
        table["parents"] = table["parents"].astype(str)
    return table


def concatenated(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all tables that have any."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


class RunTables:
    """The same table of many runs, parsed together, which is a hundred times as fast as one by one."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[list[bytes], list[str]]] = {}

    def add(self, run: str, content: bytes) -> None:
        """Add the table of a run."""
        content = content if content.endswith(b"\n") else content + b"\n"
        header, _, body = content.partition(b"\n")
        # A quoted cell may contain a newline, so only the parser can count the rows of such a table.
        rows = len(parse_csv(content)) if b'"' in content else body.count(b"\n")
        bodies, runs = self._found.setdefault(header, ([], []))
        bodies.append(body)
        runs.extend([run] * rows)

    def frame(self) -> pd.DataFrame:
        """Return the rows of all runs, with the column `run`."""
        return concatenated(
            [
                parse_csv(header + b"\n" + b"".join(bodies)).assign(run=runs)
                for header, (bodies, runs) in self._found.items()
            ]
        )


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as numbers, some of which may be missing; a column with any other text stays as it is."""
    numbers = pd.to_numeric(column.replace("", None), errors="coerce")
    return numbers if numbers.notna().sum() == column.ne("").sum() else column
