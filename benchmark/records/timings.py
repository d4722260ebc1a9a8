"""Interleaved timings of recorded networks, kept beside the records of a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from stampbench.benchmark.environment.atomic_file import write_text
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.csv_tables import parse_csv
from stampbench.benchmark.records.run_store import RunStore

FOLDER = "timings"
"""Folder of a store with the tables of interleaved timings."""


def record_timings(timings: pd.DataFrame, root: Path) -> Path:
    """Write the timings of recorded runs, whose ids are the last word of the networks' names.

    Raises:
        UserError: when no timed network belongs to a recorded run.
    """
    known = set(RunStore(root).statuses())
    runs = timings["network"].str.split().str[-1]
    if not runs.isin(known).any():
        raise UserError("only timings of recorded runs are recorded, and none was timed", setting="record")
    path = root / FOLDER / f"{timings['measured'].iloc[0].replace(':', '')}.csv"
    path.parent.mkdir(exist_ok=True)
    write_text(path, timings.assign(run=runs)[runs.isin(known)].to_csv(index=False))
    return path


def read_timings(root: Path, problems: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the tables of timings of a store; `problems` receives a line for each damaged one."""
    for path in sorted((root / FOLDER).glob("*.csv")):
        try:
            table = parse_csv(path.read_bytes())
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
            continue
        if {"run", "backend", "ratio", "measured"} <= set(table):
            yield table
        else:
            problems.append(f"{path}: not a table of timings")
