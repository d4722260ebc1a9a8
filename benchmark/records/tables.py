"""Finished runs as data frames, from a store or from published tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.spec import DatasetIdentity
from stampbench.benchmark.environment.atomic_file import write_text
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.csv_tables import RunTables, concatenated, parse_csv
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.timings import read_timings

_TABLES = ("runs", "cases", "trajectories", "timings")
_CASES = ["run", "case", "subject", "class", "dice", "hd95", "msd", "empty", "reference_voxels"]
_MARGIN = DatasetDescription.model_fields["equivalence_margin"].default
_TRAJECTORIES = [
    "run", "step", "epoch", "ranking_passes", "parameters", "macs", "validation_loss", "validation_dice", "widths",
]  # fmt: skip
_YOUNGER = {"cases": ["nsd", "predicted_voxels", "average_hausdorff_set"], "trajectories": ["test_dice"]}
"""Columns that older published tables lack."""


class Records(NamedTuple):
    """Data frames of finished runs; the column `run` is the run's id in all of them.

    Attributes:
        runs: a row per run.
        cases: a row per run, test case and foreground class.
        trajectories: a row per run and checkpoint.
        timings: a row per interleaved timing of a run's selected network.
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
    if not root.is_dir():
        raise UserError(f"no runs at {root}: the folder does not exist", setting="runs")
    return _published(root, problems) if (root / "runs.csv").is_file() else _recorded(root, problems, trajectories)


def read_epochs(store: RunStore, runs: set[str]) -> pd.DataFrame:
    """Return a row per epoch of some runs of a store, with the column `run`; older runs have none.

    Raises:
        UserError: when a table is damaged.
    """
    table = RunTables()
    for folder, record in store.records([], files=()):
        if record.id in runs and (checksum := record.files.get("epochs.csv")):
            try:
                table.add(record.id, _verified(folder / "epochs.csv", checksum))
            except ValueError as error:
                raise UserError(str(error)) from error
    return table.frame()


def folder_of(root: Path, row: Mapping[Any, Any]) -> Path:
    """Return the folder of a run in a store, given its row of `runs`."""
    return root / str(row["dataset"]) / str(row["name"]) / str(row["run"])


def write_tables(records: Records, root: Path) -> None:
    """Write the tables that are published, without weights: a CSV file each, in a stable order of rows."""
    root.mkdir(parents=True, exist_ok=True)
    runs = records.runs.sort_values(
        ["dataset", "n_train", "protocol", "strategy", "training_set", "fold", "seed", "run"]
    )
    order = {run: number for number, run in enumerate(runs["run"])}
    for name, table in zip(_TABLES, (runs, *records[1:]), strict=True):
        if name != "runs" and len(table):
            table = table.iloc[table["run"].map(order).argsort(kind="stable")]
        fixed = {"cases": _CASES, "trajectories": _TRAJECTORIES}
        columns = [*fixed[name], *_YOUNGER[name]] if name in fixed else list(table.columns)
        write_text(root / f"{name}.csv", table.reindex(columns=columns).round(6).to_csv(index=False))


def merge(older: Records, newer: Records) -> Records:
    """Return the rows of both; a run or timing in both is taken from the newer."""
    old = older.of(older.runs[~older.runs["run"].isin(newer.runs["run"])])
    runs, cases, trajectories = (concatenated([a, b]) for a, b in zip(old[:3], newer[:3], strict=True))
    # A run recorded again has the same network, so its timings of other sessions stay valid.
    timings = concatenated([older.timings, newer.timings])
    if len(timings):
        timings = timings.drop_duplicates(["run", "backend", "precision", "batch", "measured"], keep="last")
    return Records(runs, cases, trajectories, timings)


def _published(root: Path, problems: list[str]) -> Records:
    tables = []
    for name in _TABLES:
        path = root / f"{name}.csv"
        try:
            table = parse_csv(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        required = {"runs": ["run", "group", "form"], "cases": _CASES, "trajectories": _TRAJECTORIES}.get(name, ["run"])
        if len(table) and (missing := [column for column in required if column not in table]):
            raise UserError(f"{path}: missing column '{missing[0]}'")
        # Ids become file names.
        if len(table) and len(bad := table.loc[~table["run"].str.fullmatch("[0-9a-f]{12}"), "run"]):
            raise UserError(f"{path}: '{bad.iloc[0]}' is not the id of a run")
        tables.append(_completed(table) if name == "runs" and len(table) else table)
    return _scored(Records(*tables), problems)


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
        runs = runs.assign(**{column: runs[column].fillna(value) if column in runs else value})
    return runs.astype({"training_set": int})


def _recorded(root: Path, problems: list[str], with_trajectories: bool) -> Records:
    rows: list[dict[str, Any]] = []
    cases, trajectories = RunTables(), RunTables()
    wanted = [("cases.csv", cases)]
    if with_trajectories:
        wanted.append(("trajectory.csv", trajectories))
    for folder, record in RunStore(root).records(problems, files=()):
        try:
            contents = [(table, _verified(folder / name, record.files.get(name))) for name, table in wanted]
            for table, content in contents:
                table.add(record.id, content)
        except ValueError as error:
            problems.append(str(error))
            continue
        rows.append(_row(record))
    timings = concatenated(list(read_timings(root, problems)))
    return _scored(Records(pd.DataFrame(rows), cases.frame(), trajectories.frame(), timings), problems)


def _scored(records: Records, problems: list[str]) -> Records:
    """Return the runs whose cases all have scores: NaN is never averaged away."""
    if records.runs.empty:
        return records
    missing = records.runs.loc[~records.runs["run"].isin(records.cases.get("run", pd.Series(dtype=str))), "run"]
    if len(records.cases):
        scores = records.cases[["dice", "hd95", "msd"]].apply(pd.to_numeric, errors="coerce")
        missing = pd.concat([missing, records.cases.loc[scores.isna().any(axis=1), "run"]])
    problems.extend(f"run {run}: a case has no score" for run in sorted(set(missing)))
    return records.of(records.runs[~records.runs["run"].isin(missing)]) if len(missing) else records


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


def _verified(path: Path, checksum: str | None) -> bytes:
    """Return the content of a file.

    Raises:
        ValueError: when it is missing or has another checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{path}: checksum mismatch")
    return content
