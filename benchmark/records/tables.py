"""Finished runs as data frames, from a store or from published tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.spec import DatasetIdentity
from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.csv_tables import RunTables, concatenated
from stampbench.benchmark.records.run_store import RunStore, holds_tables
from stampbench.benchmark.records.run_tables import Table, read_table, verified_content
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.table_schemas import (
    CASE_COLUMNS,
    CASES,
    PUBLISHED_CASES,
    PUBLISHED_TRAJECTORIES,
    RUNS,
    TIMINGS,
    TRAJECTORY,
    TRAJECTORY_COLUMNS,
)  # fmt: skip
from stampbench.benchmark.records.timings import completed, read_timings
from stampbench.datasets.atomic_file import write_text

TABLES = {"runs": RUNS, "cases": PUBLISHED_CASES, "trajectories": PUBLISHED_TRAJECTORIES, "timings": TIMINGS}
"""Schemas of the published tables by their names."""
_MOST_BYTES = 1 << 28
"""Largest published table."""
_MARGIN = DatasetDescription.model_fields["equivalence_margin"].default


class Records(NamedTuple):
    """Data frames of finished runs; the column `run` is the run's id in all of them.

    Attributes:
        runs: a row per run.
        cases: a row per run, test case and foreground class.
        trajectories: a row per run and checkpoint.
        timings: a row per interleaved timing of a run's selected network, or of a checkpoint of its trajectory.
    """

    runs: pd.DataFrame
    cases: pd.DataFrame
    trajectories: pd.DataFrame
    timings: pd.DataFrame

    def of(self, runs: pd.DataFrame) -> Records:
        """Return the records of some rows of `runs`."""
        ids = runs["run"]
        others = (each[each["run"].isin(ids)] if len(each) else each for each in self[1:])
        return Records(runs, *others)


def read_records(root: Path, problems: list[str], *, trajectories: bool = True) -> Records:
    """Read the finished runs of a store, or of a folder with published tables.

    Args:
        root: the store or folder.
        problems: receives a line for each damaged record, which is skipped.
        trajectories: whether trajectories are read; otherwise that table is empty.

    Raises:
        UserError: when the root does not exist, or published tables are damaged.
    """
    read = _published if holds_tables(root) else _recorded
    return read(root, problems, trajectories)


def read_epochs(store: RunStore, runs: set[str], problems: list[str]) -> pd.DataFrame:
    """Return a row per epoch of some runs of a store, with the column `run`; older runs have none.

    Args:
        store: the store.
        runs: ids of the runs.
        problems: receives a line for each damaged table, which is skipped.
    """
    tables = []
    for folder, record in store.records([], files=()):
        if record.id in runs and "epochs.csv" in record.files:
            try:
                tables.append(pd.DataFrame(read_table(folder, record, "epochs.csv")).assign(run=record.id))
            except UserError as error:
                problems.append(str(error))
    return concatenated(tables)


def folder_of(root: Path, row: Mapping[Any, Any]) -> Path:
    """Return the folder of a run in a store, given its row of `runs`."""
    return root / str(row["dataset"]) / str(row["name"]) / str(row["run"])


def write_tables(records: Records, root: Path) -> None:
    """Write the tables that are published, without weights: a CSV file each, in a stable order of rows.

    The table of runs is the last one: rows of runs that it does not have are ignored, so that readers and an
    interrupted publication find the older runs or all.
    """
    root.mkdir(parents=True, exist_ok=True)
    runs = records.runs.sort_values(
        ["dataset", "n_train", "protocol", "strategy", "training_set", "fold", "seed", "run"]
    )
    order = {run: number for number, run in enumerate(runs["run"])}
    for name, table in reversed([*zip(TABLES, (runs, *records[1:]), strict=True)]):
        if name != "runs" and len(table):
            table = table.iloc[table["run"].map(order).argsort(kind="stable")]
        columns = {"cases": CASE_COLUMNS, "trajectories": TRAJECTORY_COLUMNS}.get(name, list(table.columns))
        write_text(root / f"{name}.csv", table.reindex(columns=columns).round(6).to_csv(index=False))


def merge(older: Records, newer: Records) -> Records:
    """Return the rows of both; a run or timing in both is taken from the newer."""
    old = older.of(older.runs[~older.runs["run"].isin(newer.runs["run"])])
    runs, cases, trajectories = (concatenated([a, b]) for a, b in zip(old[:3], newer[:3], strict=True))
    # A run recorded again has the same network, so its timings of other sessions stay valid.
    timings = completed(concatenated([older.timings, newer.timings]))
    if len(timings):
        keys = ["run", "step", "backend", "precision", "batch", "timing", "measured"]
        timings = timings.drop_duplicates([key for key in keys if key in timings], keep="last")
    return Records(runs, cases, trajectories, timings)


def _published(root: Path, problems: list[str], with_trajectories: bool) -> Records:
    tables = []
    for name, schema in TABLES.items():
        if name == "trajectories" and not with_trajectories:
            tables.append(pd.DataFrame())
            continue
        path = root / f"{name}.csv"
        try:
            tables.append(schema.table(read_bounded(path, _MOST_BYTES)))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from error
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    runs, *others = tables
    if runs.empty and len(others[0]):
        raise UserError(f"{root / 'runs.csv'}: has no runs, but cases.csv has cases; the file may be truncated")
    if len(runs) and runs["run"].duplicated().any():
        raise UserError(f"{root / 'runs.csv'}: the run {runs['run'][runs['run'].duplicated()].iloc[0]} is there twice")
    runs = _completed(runs) if len(runs) else runs
    # Rows of runs that are not there belong to a publication that was interrupted.
    return _unique(Records(runs, *others).of(runs) if len(runs) else Records(runs, *others), problems)


def _completed(runs: pd.DataFrame) -> pd.DataFrame:
    """Return published rows with the columns that older tables lack.

    They have the first training set, the usual margin and held-out test cases, and cannot be compared across epoch
    budgets.
    """
    older: dict[str, Any] = {
        "training_set": 0,
        "equivalence_margin": _MARGIN,
        "split": "held_out",
        "task": runs["group"],
    }
    for column, value in older.items():
        known = runs[column].replace("", None) if column in runs else None
        runs = runs.assign(**{column: value if known is None else known.fillna(value)})
    return runs.astype({"training_set": int})


def _recorded(root: Path, problems: list[str], with_trajectories: bool) -> Records:
    rows: list[dict[str, Any]] = []
    classes: dict[str, set[str]] = {}
    cases, trajectories = RunTables(CASES), RunTables(TRAJECTORY)
    wanted: list[tuple[Table, RunTables]] = [("cases.csv", cases)]
    if with_trajectories:
        wanted.append(("trajectory.csv", trajectories))
    for folder, record in RunStore(root).records(problems, files=()):
        try:
            contents = [(name, table, verified_content(folder, record, name)) for name, table in wanted]
            for name, table, content in contents:
                _add(table, record.id, folder / name, content)
        except UserError as error:
            problems.append(str(error))
            continue
        rows.append(_row(record))
        classes[record.id] = set(record.dataset.classes[1:])
    tables = [cases.frame(problems), trajectories.frame(problems)]
    complete = _complete_runs(tables[0], classes, problems)
    if with_trajectories:
        complete &= set(tables[1].get("run", ()))
    runs = pd.DataFrame([row for row in rows if row["run"] in complete])
    timings = completed(concatenated(list(read_timings(root, problems))))
    if runs.empty:
        return Records(runs, pd.DataFrame(), pd.DataFrame(), pd.DataFrame())
    return Records(runs, tables[0], tables[1], timings).of(runs)


def _add(tables: RunTables, run: str, path: Path, content: bytes) -> None:
    try:
        tables.add(run, path, content)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _complete_runs(cases: pd.DataFrame, classes: Mapping[str, set[str]], problems: list[str]) -> set[str]:
    """Return the runs that have each case once for every foreground class; report the others."""
    if cases.empty:
        return set()
    rows = cases.groupby("run").size()
    distinct = cases.drop_duplicates(["run", "case", "class"]).groupby("run").size()
    number = cases.drop_duplicates(["run", "case"]).groupby("run").size()
    found = cases.drop_duplicates(["run", "class"]).groupby("run")["class"].agg(set)
    complete = set()
    for run in rows.index:
        if found[run] == classes.get(run) and rows[run] == distinct[run] == number[run] * len(classes[run]):
            complete.add(run)
        elif run in classes:
            problems.append(f"run {run}: does not have each case once for every class")
    return complete


def _unique(records: Records, problems: list[str]) -> Records:
    """Return the published runs that have the scores of all cases, each once; report the others."""
    if records.runs.empty:
        return records
    cases = records.cases
    missing = records.runs.loc[~records.runs["run"].isin(cases.get("run", pd.Series(dtype=str))), "run"]
    problems.extend(f"run {run}: a case has no score" for run in sorted(missing))
    twice = pd.Series(dtype=str)
    if len(cases):
        twice = cases.loc[cases.duplicated(["run", "case", "class"]), "run"]
        problems.extend(f"run {run}: a case is there twice" for run in sorted(set(twice)))
    partly = _incomplete(records)
    problems.extend(f"run {run}: has {number} of {most} scores" for run, (number, most) in partly.items())
    bad = {*missing, *twice, *partly}
    return records.of(records.runs[~records.runs["run"].isin(bad)]) if bad else records


def _incomplete(records: Records) -> dict[str, tuple[int, int]]:
    """Return the runs with fewer scores than others of their leaderboard and fold, and both numbers."""
    numbers = records.cases.groupby("run").size() if len(records.cases) else pd.Series(dtype=int)
    runs = records.runs.assign(number=records.runs["run"].map(numbers)).dropna(subset="number")
    most = runs.groupby(["group", "fold"])["number"].transform("max")
    few = runs["number"] < most
    return {
        run: (int(number), int(full))
        for run, number, full in zip(runs["run"][few], runs["number"][few], most[few], strict=True)
    }


def _row(record: Record) -> dict[str, Any]:
    spec, identity = record.spec, record.spec.dataset
    return {
        "run": record.id,
        "group": record.group,
        "task": spec.task,
        "dataset": identity.name,
        "dataset_version": identity.version,
        "data_checksum": identity.checksum,
        "form": _form(identity),
        "synthetic": record.dataset.synthetic,
        "unit": record.dataset.unit,
        "equivalence_margin": record.dataset.equivalence_margin,
        "protocol": record.protocol_label,
        "name": spec.strategy,
        "strategy": record.label,
        "hyperparameters": json.dumps(spec.hyperparameters),
        "parents": " ".join(spec.parents.values()),
        "n_train": spec.n_train,
        "training_set": spec.training_set,
        "fold": spec.fold,
        "seed": spec.seed,
        "folds": spec.protocol.folds,
        "split": spec.protocol.split,
        **record.results.model_dump(exclude={"vanished"}),
    }


def _form(identity: DatasetIdentity) -> str:
    """Describe how images were prepared, in which tables of one dataset may differ."""
    parts = ["×".join(map(str, identity.size))]
    parts += ["resized"] if identity.fit == "resize" else []
    parts += [f"patches of {'×'.join(map(str, identity.patch))}"] if identity.patch else []
    parts += ["clipped to {:g} to {:g}".format(*identity.clip_range)] if identity.clip_range else []
    parts += [f"box of {'×'.join(map(str, identity.crop))}"] if identity.crop else []
    return ", ".join(parts)
