"""What the page of a run tells, gathered from its record and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stampbench.benchmark.config.rerun_command import command
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RECORD, RunStore, read_record
from stampbench.benchmark.records.tables import Records, folder_of
from stampbench.models.errors import ModelError
from stampbench.reports.overlays import thumbnails
from stampbench.reports.page import RunDetails

_WORST = 3
_LARGE = 500
"""Runs of a report from which on pictures are small: two thousand have to stay under 20 MB."""


def run_details(
    records: Records, root: Path, data_root: Path | None, *, pictures: bool, report: Callable[[int, int], None]
) -> Iterator[RunDetails]:
    """The details of every run; `report` hears of each.

    Pictures need the store with its networks, and the data; where these are not here the page says why.
    """
    store = RunStore(root)
    gallery = Reinference(store, data_root)
    scores = records.cases.groupby(["run", "case"])[["dice", "hd95"]].mean().reset_index()
    worst = scores.sort_values(["run", "dice"], kind="stable").groupby("run", sort=False).head(_WORST)
    by_run = {
        str(run): list(zip(own["case"], own["dice"], own["hd95"], strict=True)) for run, own in worst.groupby("run")
    }
    for number, row in enumerate(records.runs.to_dict("records"), start=1):
        run = str(row["run"])
        folder = folder_of(root, row)
        record = read_record(folder / RECORD)
        picture: bytes | str = "they were not asked for"
        if pictures:
            form = (144, 40) if len(records.runs) <= _LARGE else (72, 25)
            picture = _picture(gallery, str(folder), [case for case, _, _ in by_run[run]], *form)
        yield RunDetails(
            run=run,
            title=f"{row['strategy']} on {row['dataset']}, {row['n_train']} images, fold {row['fold']}, "
            f"seed {row['seed']}",
            facts=_facts(row) | _latency(folder),
            command=str(row["command"]) if record is None else command(record),
            provenance=_of_table(row) if record is None else _of_record(record),
            worst=by_run[run],
            picture=picture,
        )
        report(number, len(records.runs))


def _picture(gallery: Reinference, run: str, cases: list[str], edge: int, quality: int) -> bytes | str:
    try:
        return thumbnails(list(gallery.examples(run, cases)), edge, quality)
    except (UserError, ModelError) as error:
        return str(error)


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


def _latency(folder: Path) -> dict[str, str]:
    """What the run measured of its own network when it ended."""
    try:
        rows = pd.read_csv(folder / "latency.csv")
    except (OSError, pd.errors.EmptyDataError):
        return {}
    own = rows[~rows["noisy_time"]] if len(rows) else rows
    return {f"one image, {row['backend']}": f"{row['p50_ms']:.1f} ms" for row in own.to_dict("records")}


def _of_record(record: dict[str, Any]) -> dict[str, str]:
    environment, provenance = record["environment"], record["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in provenance["packages"].items())
    dirty = " (with uncommitted changes)" if provenance["git_dirty"] else ""
    return {
        "run": record["id"],
        "begun": str(record["begun"]),
        "ended": str(record.get("ended")),
        "code": f"{provenance['git_commit'] or 'no git'}{dirty}",
        "packages": packages,
        "data checksum": record["spec"]["dataset"]["checksum"],
        "hyperparameters": _listed(record["spec"]["hyperparameters"]),
        "protocol": _listed(record["spec"]["protocol"]),
        "machine": _listed(environment),
    }


def _of_table(row: dict[Any, Any]) -> dict[str, str]:
    """What published tables keep."""
    names = ("run", "git_commit", "torch", "processor", "threads", "data_checksum", "hyperparameters")
    return {name.replace("_", " "): str(row[name]) for name in names if not pd.isna(row.get(name))}


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
