"""Finished runs as tables: from a store, or from tables that were published."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from stampbench.benchmark.config.spec import DatasetIdentity
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.run_store import RunStore, write_text

TIMINGS = "timings"
"""The folder of a store with what `stampbench latency --record` measured."""
_TABLES = ("runs", "cases", "trajectories", "timings")
_CASES = ["run", "case", "subject", "class", "dice", "hd95", "msd", "empty", "reference_voxels"]
_TRAJECTORIES = [
    "run", "step", "epoch", "ranking_passes", "parameters", "macs", "validation_loss", "validation_dice", "widths",
]  # fmt: skip
_TEXT = dict.fromkeys(
    ("run", "group", "dataset", "dataset_version", "data_checksum", "form", "unit", "protocol", "name", "strategy",
     "hyperparameters", "parents", "case", "subject", "class", "empty", "widths", "vanished", "architecture", "network",
     "backend", "precision", "layout", "shape", "processor", "device", "driver", "clock", "torch", "measured"), str,
)  # fmt: skip
"""Columns that stay text; a case or class may be called "NA"; only numbers may be missing."""


class Records(NamedTuple):
    """What tables and figures are made of.

    `runs` has a row per run, `cases` one per run, test case and class, `trajectories` one per run and checkpoint,
    `timings` one per timing of a run's selected network, in turns with others; `run` is the id in all of them.
    """

    runs: pd.DataFrame
    cases: pd.DataFrame
    trajectories: pd.DataFrame
    timings: pd.DataFrame

    def of(self, runs: pd.DataFrame) -> Records:
        """Only these runs."""
        ids = runs["run"]
        others = (each[each["run"].isin(ids)] if len(each) else each for each in self[1:])
        return Records(runs, *others)


def read_records(root: Path, problems: list[str], *, trajectories: bool = True) -> Records:
    """Finished runs of a store, or of a folder that `write_tables` wrote.

    `problems` gets a line for each damaged record, which is left out. Without `trajectories` these stay empty.

    Raises:
        UserError: there is neither at the root.
    """
    if not root.is_dir():
        raise UserError(f"no runs at {root}; --runs takes the folder that 'stampbench run' wrote")
    return _published(root, problems) if (root / "runs.csv").is_file() else _recorded(root, problems, trajectories)


def folder_of(root: Path, row: Mapping[Any, Any]) -> Path:
    """Where a store has the run of a row of `runs`."""
    return root / str(row["dataset"]) / str(row["name"]) / str(row["run"])


def record_timings(timings: pd.DataFrame, root: Path) -> Path:
    """Keep what was measured in turns of recorded runs, whose ids end the networks' names.

    Raises:
        UserError: none of the networks is that of a recorded run.
    """
    known = set(RunStore(root).statuses())
    runs = timings["network"].str.split().str[-1]
    if not runs.isin(known).any():
        raise UserError("--record keeps the times of recorded runs, and none was timed")
    path = root / TIMINGS / f"{timings['measured'].iloc[0].replace(':', '')}.csv"
    path.parent.mkdir(exist_ok=True)
    write_text(path, timings.assign(run=runs)[runs.isin(known)].to_csv(index=False))
    return path


def write_tables(records: Records, root: Path) -> None:
    """Write what can be published, without weights: a CSV file per table, rows in an order of their own."""
    root.mkdir(parents=True, exist_ok=True)
    runs = records.runs.sort_values(["dataset", "n_train", "protocol", "strategy", "fold", "seed", "run"])
    order = {run: number for number, run in enumerate(runs["run"])}
    for name, table in zip(_TABLES, (runs, *records[1:]), strict=True):
        if name != "runs" and len(table):
            table = table.iloc[table["run"].map(order).argsort(kind="stable")]
        columns = {"cases": _CASES, "trajectories": _TRAJECTORIES}.get(name, list(table.columns))
        write_text(root / f"{name}.csv", table.reindex(columns=columns).round(6).to_csv(index=False))


def merge(older: Records, newer: Records) -> Records:
    """Both; of a run or a timing that is in both, the newer."""
    old = older.of(older.runs[~older.runs["run"].isin(newer.runs["run"])])
    runs, cases, trajectories = (_together([a, b]) for a, b in zip(old[:3], newer[:3], strict=True))
    # A run recorded again is the same network; what was measured of it in other sessions still holds.
    timings = _together([older.timings, newer.timings])
    if len(timings):
        timings = timings.drop_duplicates(["run", "backend", "precision", "batch", "measured"], keep="last")
    return Records(runs, cases, trajectories, timings)


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()


def _published(root: Path, problems: list[str]) -> Records:
    tables = []
    for name in _TABLES:
        path = root / f"{name}.csv"
        try:
            table = _parse(path.read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        needed = {"runs": ["run", "group", "form"], "cases": _CASES, "trajectories": _TRAJECTORIES}.get(name, ["run"])
        if len(table) and (absent := [column for column in needed if column not in table]):
            raise UserError(f"{path}: has no column '{absent[0]}'")
        # Ids become names of files.
        if len(table) and len(bad := table.loc[~table["run"].str.fullmatch("[0-9a-f]{12}"), "run"]):
            raise UserError(f"{path}: '{bad.iloc[0]}' is no run's id")
        tables.append(table)
    return _without_gaps(Records(*tables), problems)


def _recorded(root: Path, problems: list[str], with_trajectories: bool) -> Records:
    store = RunStore(root)
    runs: list[dict[str, Any]] = []
    cases, trajectories = _Tables(), _Tables()
    wanted = [("cases.csv", cases)]
    if with_trajectories:
        wanted.append(("trajectory.csv", trajectories))
    for folder, record in store.records(problems, files=()):
        try:
            contents = [(table, _verified(folder / name, record["files"].get(name))) for name, table in wanted]
            row = _row(record)
            for table, content in contents:
                table.add(row["run"], content)
        except ValueError as error:
            problems.append(str(error))
            continue
        except (KeyError, TypeError) as error:
            problems.append(f"{folder}: is no whole record ({type(error).__name__}: {error})")
            continue
        runs.append(row)
    timings = _together(list(_measured(root, problems)))
    records = Records(pd.DataFrame(runs), cases.frame(), trajectories.frame(), timings)
    return _without_gaps(records, problems)


def _without_gaps(records: Records, problems: list[str]) -> Records:
    """Only runs all of whose cases have their scores: NaN is never averaged away."""
    if records.runs.empty:
        return records
    missing = records.runs.loc[~records.runs["run"].isin(records.cases.get("run", pd.Series(dtype=str))), "run"]
    if len(records.cases):
        scores = records.cases[["dice", "hd95", "msd"]].apply(pd.to_numeric, errors="coerce")
        missing = pd.concat([missing, records.cases.loc[scores.isna().any(axis=1), "run"]])
    problems.extend(f"run {run}: a case has no score" for run in sorted(set(missing)))
    return records.of(records.runs[~records.runs["run"].isin(missing)]) if len(missing) else records


def _row(record: dict[str, Any]) -> dict[str, Any]:
    spec, data = record["spec"], record["dataset"]
    identity = DatasetIdentity.model_validate(spec["dataset"])
    summary = {key: value for key, value in record["summary"].items() if not isinstance(value, dict)}
    return {
        "run": record["id"],
        "group": record["group"],
        "dataset": identity.name,
        "dataset_version": identity.version,
        "data_checksum": identity.checksum,
        "form": _form(identity),
        "synthetic": data["synthetic"],
        "unit": data["unit"],
        "protocol": record["protocol_label"],
        "name": spec["strategy"],
        "strategy": record["label"],
        "hyperparameters": json.dumps(spec["hyperparameters"]),
        "parents": " ".join(spec["sources"].values()),
        "n_train": spec["n_train"],
        "fold": spec["fold"],
        "seed": spec["seed"],
        "folds": spec["protocol"]["folds"],
        **summary,
    }


def _form(identity: DatasetIdentity) -> str:
    """How images were brought to what networks see: what tables of one dataset may differ in."""
    parts = ["×".join(map(str, identity.size))]
    parts += ["resized"] if identity.fit == "resize" else []
    parts += [f"patches of {'×'.join(map(str, identity.patch))}"] if identity.patch else []
    parts += ["clipped to {:g} to {:g}".format(*identity.clip_range)] if identity.clip_range else []
    parts += [f"box of {'×'.join(map(str, identity.crop))}"] if identity.crop else []
    return ", ".join(parts)


def _measured(root: Path, problems: list[str]) -> Iterator[pd.DataFrame]:
    for path in sorted((root / TIMINGS).glob("*.csv")):
        try:
            table = _parse(path.read_bytes())
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
            continue
        if {"run", "backend", "ratio", "measured"} <= set(table):
            yield table
        else:
            problems.append(f"{path}: is no table of timings")


def _verified(path: Path, checksum: str | None) -> bytes:
    """Raises:
    ValueError: the file is not there, or not what was recorded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{path}: is not what was recorded")
    return content


class _Tables:
    """Tables of many runs, parsed together, which is a hundred times as fast as one by one."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[list[bytes], list[str]]] = {}

    def add(self, run: str, content: bytes) -> None:
        content = content if content.endswith(b"\n") else content + b"\n"
        header, _, body = content.partition(b"\n")
        # A quoted cell may hold a line's end; of such a table only the parser can count the rows.
        rows = len(_parse(content)) if b'"' in content else body.count(b"\n")
        bodies, runs = self._found.setdefault(header, ([], []))
        bodies.append(body)
        runs.extend([run] * rows)

    def frame(self) -> pd.DataFrame:
        """All rows, with the column `run`."""
        return _together(
            [
                _parse(header + b"\n" + b"".join(bodies)).assign(run=runs)
                for header, (bodies, runs) in self._found.items()
            ]
        )


def _parse(content: bytes) -> pd.DataFrame:
    if not content.strip():
        return pd.DataFrame()
    table = pd.read_csv(io.BytesIO(content), dtype=_TEXT, keep_default_na=False)
    for name in table.columns.difference(list(_TEXT)):
        if table[name].dtype == object or str(table[name].dtype) == "str":
            table[name] = _numbers(table[name])
    return table


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers some of which are missing; a column with anything else stays as it is."""
    numbers = pd.to_numeric(column.replace("", None), errors="coerce")
    return numbers if numbers.notna().sum() == column.ne("").sum() else column
