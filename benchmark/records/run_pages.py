"""Details of runs for their pages of a report, from records and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.record_file import RECORD, read_record
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_tables import read_table
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.tables import Records, folder_of
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.reports.overlays import thumbnails
from stampbench.reports.run_data import CaseRow, RunDetails

_WORST = 3
_APART = 0.1
"""Difference between validation and test Dice from which on a run's page points to it."""
_LARGE = 500
"""Number of runs from which on pictures are small, so that the pages of two thousand runs stay below 20 MB."""


def run_details(
    records: Records, reinference: Reinference, root: Path, *, pictures: bool, report: Callable[[int, int], None]
) -> Iterator[RunDetails]:
    """Yield the details of every run.

    Args:
        records: the runs.
        reinference: draws test cases again.
        root: the store, or the folder of published tables.
        pictures: whether to draw each run's worst test cases; that needs the store's networks and the data, and the
            page says if a picture is missing.
        report: called with the number of finished runs and the number of all.
    """
    scores = _case_scores(records)
    by_run = dict(iter(scores.sort_values(["dice", "case"], kind="stable").groupby("run", sort=False)))
    means = scores.groupby(["group", "strategy", "case"])["dice"].mean()
    by_case = {str(group): own.droplevel(0).unstack("case") for group, own in means.groupby(level="group")}
    sets = records.runs.groupby("group")["training_set"].nunique()
    for number, row in enumerate(records.runs.to_dict("records"), start=1):
        run = str(row["run"])
        folder = folder_of(root, row)
        record = _record(folder)
        cases = [_case_row(case) for case in by_run[run].to_dict("records")]
        worst = [case.case for case in cases[:_WORST]]
        picture: bytes | str = "No pictures: they were switched off."
        if record is None:
            picture = "No pictures: weights are not published."
        elif pictures:
            form = (224, 40) if len(records.runs) <= _LARGE else (72, 25)
            picture = _picture(reinference, str(folder), worst, *form)
        yield RunDetails(
            run=run,
            title=_title(row, several_sets=sets[row["group"]] > 1),
            warning=_warning(row),
            facts=_facts(row) | _latency(folder, record),
            command=str(row["command"]) if record is None else record.command,
            provenance=_table_provenance(row) if record is None else _record_provenance(record),
            cases=cases,
            strategies=_by_strategy(by_case[str(row["group"])][worst], str(row["strategy"])),
            picture=picture,
        )
        report(number, len(records.runs))


def _title(row: Mapping[Any, Any], *, several_sets: bool) -> str:
    """Name a run; the training set is named where there are several."""
    training_set = f"training set {row['training_set']}, " if several_sets else ""
    return (
        f"{row['strategy']} on {row['dataset']}, {row['n_train']} images, {training_set}fold {row['fold']}, "
        f"seed {row['seed']}"
    )


def _case_scores(records: Records) -> pd.DataFrame:
    """Return a row per run and case, with the median Dice that the other strategies of its leaderboard have on it."""
    scores = records.cases.groupby(["run", "case"], sort=False)[["dice", "hd95"]].mean().reset_index()
    scores = scores.merge(records.runs[["run", "group", "strategy"]], on="run")
    means = scores.groupby(["group", "case", "strategy"])["dice"].mean().unstack("strategy")
    others = {
        name: means.drop(columns=name).median(axis=1) if means.shape[1] > 1 else means[name] * math.nan
        for name in means
    }
    table = pd.concat(others, names=["strategy"]).rename("others").reset_index()
    return scores.merge(table, on=["strategy", "group", "case"])


def _case_row(case: dict[Any, Any]) -> CaseRow:
    others = None if math.isnan(case["others"]) else round(case["others"], 3)
    return CaseRow(str(case["case"]), round(case["dice"], 3), round(case["hd95"], 2), others)


def _by_strategy(dice: pd.DataFrame, own: str) -> dict[str, list[float | None]]:
    """Return the Dice of some cases by strategy.

    Args:
        dice: mean Dice, a row per strategy and a column per case.
        own: the strategy that comes first.
    """
    names = [own, *(name for name in dice.index if name != own)]
    return {
        str(name): [None if math.isnan(each) else round(float(each), 3) for each in dice.loc[name]] for name in names
    }


def _warning(row: dict[Any, Any]) -> str:
    """Say that validation and test Dice differ much; empty if they do not."""
    apart = row["validation_dice"] - row["test_dice"]
    if not abs(apart) > _APART:
        return ""
    return (
        f"Validation Dice {row['validation_dice']:.3f} and test Dice {row['test_dice']:.3f} differ by "
        f"{abs(apart):.3f}. "
        "Validation has few images; in 2D it scores slices, while the test scores whole cases."
    )


def _record(folder: Path) -> Record | None:
    """Return a run's record; None for a row of published tables."""
    return read_record(folder / RECORD) if (folder / RECORD).is_file() else None


def _picture(reinference: Reinference, run: str, cases: list[str], edge: int, quality: int) -> bytes | str:
    try:
        return thumbnails(list(reinference.examples(run, cases)), edge, quality)
    except (UserError, ModelError, DatasetError):
        return "No pictures: the weights or the data were not available where this page was made."


def _facts(row: dict[Any, Any]) -> dict[str, str]:
    unit = row["unit"]
    return {
        "test Dice": f"{row['test_dice']:.4f}",
        f"HD95 [{unit}]": f"{row['test_hd95']:.2f}",
        f"mean surface distance [{unit}]": f"{row['test_msd']:.2f}",
        "empty masks": str(int(row["test_empty"])),
        "validation Dice": f"{row['validation_dice']:.4f}",
        "parameters": f"{int(row['parameters']):,}",
        "FLOPs": f"{int(row['flops']):,}",
        "selected at epoch": str(int(row["selected_epoch"])),
        "epochs charged": str(int(row["epochs"])),
        "ranking passes": str(int(row["ranking_passes"])),
        "training": f"{row['training_seconds']:.0f} s",
        "protocol": str(row["protocol"]),
        "images": str(row["form"]),
    }


def _latency(folder: Path, record: Record | None) -> dict[str, str]:
    """Return what the run measured of its own network when it ended."""
    try:
        rows = {} if record is None else read_table(folder, record, "latency.csv")
    except UserError as error:
        return {"latency": str(error)}
    own = pd.DataFrame(rows)
    own = own[~own["noisy_time"]] if len(own) else own
    return {f"one image, {row['backend']}": f"{row['p50_ms']:.1f} ms" for row in own.to_dict("records")}


def _record_provenance(record: Record) -> dict[str, str]:
    provenance = record.provenance
    packages = ", ".join(f"{name} {version}" for name, version in provenance.packages.items())
    dirty = " (with uncommitted changes)" if provenance.git_dirty else ""
    return {
        "run": record.id,
        "begun": record.begun,
        "ended": str(record.ended),
        "code": f"{provenance.git_commit or 'no git'}{dirty}",
        "packages": packages,
        "data checksum": record.spec.dataset.checksum,
        "hyperparameters": _listed(record.spec.hyperparameters),
        "protocol": _listed(record.spec.protocol),
        "machine": _listed(record.environment),
    }


def _table_provenance(row: dict[Any, Any]) -> dict[str, str]:
    names = ("run", "git_commit", "torch", "processor", "threads", "data_checksum", "hyperparameters")
    return {name.replace("_", " "): str(row[name]) for name in names if not pd.isna(row.get(name))}


def _listed(values: dict[str, Any] | BaseModel) -> str:
    given = values.model_dump(mode="json") if isinstance(values, BaseModel) else values
    return ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
