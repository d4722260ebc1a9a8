"""The CSV files of one run, read strictly and compared with its record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from stampbench.benchmark.config.validated import explain
from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.record_file import MOST_BYTES
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.strict_csv import Values
from stampbench.benchmark.records.table_schemas import CASES, EPOCHS, LATENCY, PRUNED, TRAJECTORY

if TYPE_CHECKING:
    from stampbench.models.model import Architecture

Table = Literal["cases.csv", "trajectory.csv", "epochs.csv", "pruned.csv", "latency.csv"]
SCHEMAS = {
    "cases.csv": CASES,
    "trajectory.csv": TRAJECTORY,
    "epochs.csv": EPOCHS,
    "pruned.csv": PRUNED,
    "latency.csv": LATENCY,
}
"""Schema of each CSV file of a run."""


def read_table(folder: Path, record: Record, name: Table) -> dict[str, Values]:
    """Return the values of a run's CSV file by column.

    Args:
        folder: folder of the run.
        record: its record.
        name: name of the file.

    Raises:
        UserError: when it is missing, has another checksum than the record says, or is not such a table.
    """
    try:
        return SCHEMAS[name].parse(verified_content(folder, record, name))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{folder / name}: {error}") from error


def verified_content(folder: Path, record: Record, name: Table) -> bytes:
    """Return the content of a run's CSV file; arguments are those of `read_table`.

    Raises:
        UserError: when it is missing, or has another checksum than the record says.
    """
    try:
        content = read_bounded(folder / name, MOST_BYTES[name], follow=False)
    except OSError as error:
        raise UserError(f"{folder / name}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != record.files.get(name):
        raise UserError(f"{folder / name}: checksum mismatch")
    return content


def read_cases(folder: Path, record: Record) -> dict[str, Values]:
    """Return the scores of a run's test cases by column: each case once for every foreground class.

    Raises:
        UserError: when the table cannot be read, or has other rows.
    """
    table = read_table(folder, record, "cases.csv")
    rows = list(zip(table.get("case", ()), table.get("class", ()), strict=True))
    cases, classes = {case for case, _ in rows}, record.dataset.classes[1:]
    if set(rows) != set(product(cases, classes)) or len(rows) != len(cases) * len(classes):
        raise UserError(
            f"{folder / 'cases.csv'}: does not have each of {len(cases)} cases once for every class: "
            f"{', '.join(classes)}"
        )
    return table


def architectures_of(folder: Path, trajectory: Mapping[str, Values]) -> list[Architecture]:
    """Return the architecture of every checkpoint of a run.

    Args:
        folder: folder of the run, for messages.
        trajectory: its trajectory, as `read_table` returns it.

    Raises:
        UserError: when an architecture is not valid.
    """
    from stampbench.models.model import parse_architecture  # imports PyTorch, which takes a second

    try:
        return [parse_architecture(text) for text in trajectory["architecture"]]
    except ValidationError as error:
        raise UserError(f"{folder / 'trajectory.csv'}: architecture: {explain(error)[1]}") from None
