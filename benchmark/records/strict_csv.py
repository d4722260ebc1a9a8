"""Strict reading of CSV tables: exact columns, equal rows, and values within the bounds of a pydantic model."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

_LONGEST_CELL = 1 << 20
"""Characters of a cell; an architecture as JSON has some thousands."""
_LARGEST_INTEGER = 2**53
_LONGEST_LINE = 1 << 16
_MISSING = ("", "nan", "NaN")
_SPECIAL = re.compile(rb'["\r\0]')
_BOOLEANS = {"True": True, "False": False}


Values = NDArray[Any] | list[Any]
"""Values of a column: numbers, or text, truth values and None in a list."""


class Column(NamedTuple):
    """Type and bounds of a column.

    Attributes:
        kind: type of its values.
        optional: whether a cell may be empty; a number without bounds may always be missing or infinite.
        low: smallest number; None: any.
        high: largest number; None: any.
        pattern: regular expression of the whole text; None: any.
        choices: accepted texts; None: any.
        checks: functions that raise a ValueError about a text that is not accepted.
    """

    kind: Literal["text", "integer", "number", "boolean"]
    optional: bool = False
    low: float | None = None
    high: float | None = None
    pattern: str | None = None
    choices: tuple[str, ...] | None = None
    checks: tuple[Callable[[str], object], ...] = ()

    @classmethod
    def of(cls, field: FieldInfo) -> Self:
        """Return the column of a model's field."""
        kind, constraints, optional = field.annotation, list(field.metadata), False
        for each in get_args(kind) if NoneType in get_args(kind) else ():
            optional = True
            if each is not NoneType:
                kind = each
        if get_origin(kind) is Annotated:
            kind, *inner = get_args(kind)
            constraints += [each for info in inner for each in getattr(info, "metadata", [info])]
        found: dict[str, Any] = {}
        found["checks"] = tuple(each.func for each in constraints if isinstance(each, AfterValidator))
        for each in constraints:
            for name, attribute in (("low", "ge"), ("high", "le"), ("pattern", "pattern")):
                if (value := getattr(each, attribute, None)) is not None:
                    found[name] = value
        if get_origin(kind) is Literal:
            found["choices"] = get_args(kind)
        kinds: dict[Any, Any] = {int: "integer", float: "number", bool: "boolean"}
        return cls(kinds.get(kind, "text"), optional, **found)

    def parse(self, name: str, cells: list[str]) -> Values:
        """Return the values of cells: an array of numbers or booleans, or a list where text or None is possible.

        Raises:
            ValueError: when a cell is outside the bounds; the message names the row.
        """
        if self.kind == "text":
            return self._texts(name, cells)
        if self.kind == "boolean":
            known = _BOOLEANS | ({"": None} if self.optional else {})
            _refuse_others(name, cells, known, "is neither True nor False")
            values = [known[cell] for cell in cells]
            return values if self.optional else np.array(values, bool)
        return self._numbers(name, cells)

    def accepts(self, values: pd.Series[Any]) -> bool:
        """Return whether pandas has certainly read what `parse` returns; otherwise `parse` looks at each cell."""
        if self.kind == "text":
            try:
                self._texts("", list(values.unique()))
            except ValueError:
                return False
            return True
        missing = values.isna() & self.optional
        whole = self.kind == "integer" and not missing.any()
        if self.kind == "boolean" or values.dtype != (np.int64 if whole else np.float64):
            return False
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        known = (values >= low) & (values <= high)
        if self.kind == "integer":
            known &= values == values.round()
        return bool((known | missing).all())

    def _texts(self, name: str, cells: list[str]) -> list[str]:
        if self.pattern is not None:
            matches = re.compile(self.pattern.removesuffix("$") + r"\Z").match
            _refuse(name, cells, [not matches(cell) for cell in cells], "is malformed")
        if self.choices is not None:
            allowed = ", ".join(f"'{each}'" for each in self.choices)
            _refuse_others(name, cells, self.choices, f"is not one of {allowed}")
        for check in self.checks:
            for cell in dict.fromkeys(cells):
                try:
                    check(cell)
                except ValueError as error:
                    _refuse(name, cells, [each == cell for each in cells], str(error))
        return cells

    def _numbers(self, name: str, cells: list[str]) -> NDArray[Any]:
        try:
            values = np.array([float(cell) for cell in cells], float)
        except ValueError:
            values = np.array([_number(cell) for cell in cells])
        empty = np.array([self.optional and cell == "" for cell in cells], bool)
        bounded = self.low is not None or self.high is not None or self.kind == "integer"
        if bounded:
            low = -_LARGEST_INTEGER if self.low is None else self.low
            high = _LARGEST_INTEGER if self.high is None else self.high
            outside = ~((values >= low) & (values <= high) | empty)  # NaN is not within bounds
            _refuse(name, cells, outside, f"is not a number within {low:g} to {high:g}")
        else:
            text = [np.isnan(value) and cell not in _MISSING for value, cell in zip(values, cells, strict=True)]
            _refuse(name, cells, text, "is not a number")
        if self.kind == "integer":
            _refuse(name, cells, ~empty & (values != np.round(values)), "is not a whole number")
            return values if empty.any() else values.astype(np.int64)
        return values


class TableSchema(NamedTuple):
    """The columns of a table.

    Attributes:
        columns: columns by name.
        younger: names of columns that older tables lack.
        renamed: present names by the names that columns had in older tables.
    """

    columns: Mapping[str, Column]
    younger: Collection[str] = ()
    renamed: Mapping[str, str] = {}

    @classmethod
    def of(cls, model: type[BaseModel], younger: Collection[str] = ()) -> Self:
        """Return the schema of a table whose rows are a pydantic model."""
        fields = model.model_fields.items()
        return cls({field.alias or name: Column.of(field) for name, field in fields if not field.exclude}, younger)

    def published(self, columns: Collection[str] | None = None) -> Self:
        """Return the schema of a table of several runs, with some of the columns; None: with all."""
        kept = {name: column for name, column in self.columns.items() if columns is None or name in columns}
        return self._replace(columns={"run": Column("text", pattern="[0-9a-f]{12}")} | kept)

    def parse(self, content: bytes) -> dict[str, Values]:
        """Return the values of a table by column; a table without rows has empty columns.

        Raises:
            ValueError: when it is not a table of this schema; the message names the first row that is not.
        """
        if not content.strip():
            return {}
        if b"\0" in content or b"\r" in content:
            raise ValueError("has null characters or carriage returns")
        try:
            header, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
            header = [self.renamed.get(name, name) for name in header]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"is not a table: {error}") from None
        self._check_header(header)
        for number, row in enumerate(rows, start=1):
            if len(row) != len(header):
                raise ValueError(f"row {number} has {len(row)} of {len(header)} cells")
        cells = zip(*rows, strict=True) if rows else ([] for _ in header)
        return {name: self.columns[name].parse(name, list(values)) for name, values in zip(header, cells, strict=True)}

    def table(self, content: bytes) -> pd.DataFrame:
        """Return what `parse` returns as a data frame, by the fast way where that is possible.

        Raises:
            ValueError: as `parse`.
        """
        table = self.parse_fast(content) if is_plain(content) else None
        return pd.DataFrame(self.parse(content)) if table is None else table

    def parse_fast(self, content: bytes) -> pd.DataFrame | None:
        """Return a table that `is_plain`, ten times as fast; None: `parse` has to look at each cell."""
        try:
            header = content.partition(b"\n")[0].decode().split(",")
            self._check_header(header)
            text: dict[Hashable, type] = {name: str for name in header if self.columns[name].kind == "text"}
            empty = {name: [""] for name in header if self.columns[name].optional and name not in text}
            table = pd.read_csv(
                io.BytesIO(content), dtype=text, keep_default_na=False, na_values=empty, low_memory=False
            )
        except ValueError:
            return None
        accepted = list(table.columns) == header and all(self.columns[name].accepts(table[name]) for name in header)
        return table if accepted else None

    def _check_header(self, header: list[str]) -> None:
        for name in header:
            if name not in self.columns:
                raise ValueError(f"unknown column '{name[:40]}'")
            if header.count(name) > 1:
                raise ValueError(f"the column '{name}' is there twice")
        if missing := [name for name in self.columns if name not in header and name not in self.younger]:
            raise ValueError(f"missing column '{missing[0]}'")


def is_plain(content: bytes) -> bool:
    """Return whether every row of a table is a short line with as many cells as the header, and no cell is quoted."""
    header, *rows = content.split(b"\n")
    if not rows or rows.pop():
        return False
    return (
        {row.count(b",") for row in rows} == {header.count(b",")}
        and not _SPECIAL.search(content)
        and max(map(len, rows)) <= _LONGEST_LINE
    )


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _refuse(name: str, cells: list[str], wrong: Collection[Any], problem: str) -> None:
    """Raise the error about the first wrong cell, if there is one."""
    numbers = np.flatnonzero(np.asarray(wrong, bool))
    if len(numbers):
        first = int(numbers[0])
        raise ValueError(f"row {first + 1}: {name}={cells[first][:40]!r} {problem}")


def _refuse_others(name: str, cells: list[str], allowed: Collection[str], problem: str) -> None:
    """Raise the error about the first cell that is not one of the allowed ones."""
    if not set(cells) <= set(allowed):
        _refuse(name, cells, [cell not in allowed for cell in cells], problem)


csv.field_size_limit(_LONGEST_CELL)
