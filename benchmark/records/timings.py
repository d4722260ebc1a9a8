"""Interleaved timings of recorded networks, kept beside the records of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.latency_row import YOUNGER, LatencyRow
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.table_schemas import TIMINGS
from stampbench.datasets.atomic_file import write_text
from stampbench.reports.latency import timing_names

_MOST_BYTES = 1 << 26
FOLDER = "timings"
"""Folder of a store with the tables of interleaved timings."""


def check_recorded(networks: Iterable[str], root: Path) -> pd.Series:  # type: ignore[type-arg]
    """Return the run of each network, whose id ends its name, except for the step of a checkpoint; NaN: not recorded.

    Raises:
        UserError: when no network belongs to a recorded run.
    """
    runs = pd.Series(list(networks), dtype=str).str.extract(r"(\S+)(?: step \d+)?$", expand=False)
    runs = runs.where(runs.isin(RunStore(root).statuses()))
    if runs.isna().all():
        raise UserError("only timings of recorded runs are recorded, and none is to be timed", setting="record")
    return runs


def record_timings(timings: pd.DataFrame, root: Path) -> Path:
    """Write the timings of recorded runs.

    Raises:
        UserError: when no timed network belongs to a recorded run, or the timings cannot be written.
    """
    runs = check_recorded(timings["network"], root).to_numpy()
    path = root / FOLDER / f"{timings['measured'].iloc[0].replace(':', '')}.csv"
    try:
        path.parent.mkdir(exist_ok=True)
        write_text(path, timings.assign(run=runs).dropna(subset="run").to_csv(index=False))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def completed(timings: pd.DataFrame) -> pd.DataFrame:
    """Return timings in which rows that are older than a column have its default, or what they timed."""
    timings = timings.assign(timing=timing_names(timings)) if "timing" in timings else timings
    defaults = {name: LatencyRow.model_fields[name].default for name in YOUNGER}
    return timings.fillna({name: value for name, value in defaults.items() if name in timings and value is not None})


def read_timings(root: Path, problems: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the tables of timings of a store; `problems` receives a line for each damaged one."""
    for path in sorted((root / FOLDER).glob("*.csv")):
        try:
            yield pd.DataFrame(TIMINGS.parse(read_bounded(path, _MOST_BYTES, follow=False)))
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
        except ValueError as error:
            problems.append(f"{path}: {error}")
