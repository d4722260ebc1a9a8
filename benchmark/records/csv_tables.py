"""Tables of many runs, collected run by run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stampbench.benchmark.records.strict_csv import TableSchema, is_plain


class RunTables:
    """The same table of many runs. Tables without quoted cells are parsed together, which is ten times as fast."""

    def __init__(self, schema: TableSchema) -> None:
        self._schema = schema
        self._plain: dict[bytes, list[tuple[str, Path, bytes]]] = {}
        self._parsed: list[pd.DataFrame] = []

    def add(self, run: str, path: Path, content: bytes) -> None:
        """Add the table of a run; `path` is its file, for messages.

        Raises:
            ValueError: when it is not a table of the schema; an error in a cell may be found by `frame` only.
        """
        header, _, body = content.partition(b"\n")
        if not body.strip():
            raise ValueError("has no rows")
        if not is_plain(content):
            self._parsed.append(pd.DataFrame(self._schema.parse(content)).assign(run=run))
        else:
            self._plain.setdefault(header, []).append((run, path, body))

    def frame(self, problems: list[str]) -> pd.DataFrame:
        """Return the rows of all runs, with the column `run`; `problems` receives a line for each damaged table."""
        frames = []
        for header, tables in self._plain.items():
            content = b"".join((header, b"\n", *(body for _, _, body in tables)))
            together = self._schema.parse_fast(content)
            if together is not None:
                runs = [run for run, _, body in tables for _ in range(body.count(b"\n"))]
                frames.append(together.assign(run=runs))
                continue
            for run, path, body in tables:
                try:
                    frames.append(pd.DataFrame(self._schema.parse(header + b"\n" + body)).assign(run=run))
                except ValueError as error:
                    problems.append(f"{path}: {error}")
        return concatenated([*frames, *self._parsed])


def concatenated(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all tables that have any."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
