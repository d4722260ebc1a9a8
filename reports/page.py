"""A static page of leaderboards and runs, which opens from disk and needs no network."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stampbench.reports.leaderboard import Board
from stampbench.reports.mean_rank import OverallRanking
from stampbench.reports.palette import COLOURS, places
from stampbench.reports.table_formats import board_table, ranking_table

_MOST_CHECKPOINTS = 40
"""Of longer trajectories some are left out: two thousand pages have to stay small."""


class RunDetails(NamedTuple):
    """What a run's page tells.

    `facts` and `provenance` are shown as they stand; `worst` holds case, Dice and HD95; `picture` is a WebP of these
    cases side by side, or the reason why there is none.
    """

    run: str
    title: str
    facts: dict[str, str]
    command: str
    provenance: dict[str, str]
    worst: Sequence[tuple[str, float, float]]
    picture: bytes | str


def write_page(
    folder: Path,
    boards: Sequence[Board],
    rankings: Sequence[OverallRanking],
    runs: pd.DataFrame,
    trajectories: pd.DataFrame,
    details: Iterable[RunDetails],
) -> int:
    """Write `index.html`, `runs/ID.html` for each of `details`, and what they need; returns the bytes written.

    Tables are DataTables (from the package itables), plots are plotly.js (from the package plotly).

    Raises:
        OSError: the folder cannot be written.
    """
    templates = Environment(
        loader=PackageLoader("stampbench.reports", "assets"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    written = 0

    def write(name: str, content: str | bytes) -> None:
        nonlocal written
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)
        written += len(data)

    assets = resources.files("stampbench.reports") / "assets"
    for name in ("page.css", "page.js"):
        write(name, (assets / name).read_text())
    write("plotly.js", (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes())
    html = resources.files("itables") / "html"
    write("tables.js", _classic((html / "dt_bundle.js").read_text()))
    write("tables.css", (html / "dt_bundle.css").read_text())
    index = templates.get_template("index.html")
    place = places(runs["strategy"])
    tables = [_table(board, runs, place) for board in boards]
    write(
        "index.html",
        index.render(boards=tables, colours=COLOURS, rankings=[_ranking(each) for each in rankings], runs=len(runs)),
    )
    page = templates.get_template("run.html")
    by_run = dict(tuple(trajectories.groupby("run"))) if len(trajectories) else {}
    for each in details:
        if isinstance(each.picture, bytes):
            write(f"runs/{each.run}.webp", each.picture)
        data = _plots(by_run.get(each.run))
        write(
            f"runs/{each.run}.html",
            page.render(each._asdict() | {"data": data, "drawn": not isinstance(each.picture, str)}),
        )
    return written


def _classic(bundle: str) -> str:
    """A module as a script, since browsers load no modules from disk."""
    exports = list(re.finditer(r"export\s*\{([^}]*)\};?", bundle))
    if len(exports) != 1:
        raise ValueError("the table library of the package itables is not built as expected")
    own = {
        outside: inside for inside, _, outside in (pair.strip().partition(" as ") for pair in exports[0][1].split(","))
    }
    start, end = exports[0].span()
    given = f"window.jQuery={own['jQuery']};"
    return f"(function(){{{bundle[:start]};{given}{bundle[end:]}\n}})();\n"


def _table(board: Board, runs: pd.DataFrame, place: Mapping[str, int]) -> dict[str, Any]:
    text = board_table(board)
    numbers = {
        "rank": "rank", "Dice (95 %)": "dice", "p (Holm)": "p_holm", "run sd": "run_sd", "parameters": "parameters",
        "FLOPs": "flops", "latency": "latency_ratio", "epochs": "epochs", "ranking passes": "ranking_passes",
        "empty": "empty", "folds × seeds": "runs",
    }  # fmt: skip
    for column in map(str, text):
        if column.startswith(("HD95", "MSD")):
            numbers[column] = column.split()[0].lower()
    own = runs[runs["group"] == board.about["group"]].sort_values(["strategy", "fold", "seed"])
    return {
        "title": board.title,
        "notes": board.notes,
        "columns": list(text),
        "rows": [
            {
                "strategy": strategy,
                "cells": [(cell, _order(board.rows[numbers[name]].iloc[index]) if name in numbers else "")
                          for name, cell in zip(text, row, strict=True)],
            }
            for index, (strategy, row) in enumerate(zip(board.rows["strategy"], text.to_numpy().tolist(), strict=True))
        ],
        "points": [_point(row) | {"place": place[row["strategy"]]} for row in board.rows.to_dict("records")],
        "unit": board.about["unit"],
        "runs": own.to_dict("records"),
    }  # fmt: skip


def _point(row: dict[Any, Any]) -> dict[str, Any]:
    names = ("strategy", "dice", "dice_low", "dice_high", "parameters", "latency_ratio", "flops")
    marks = {"small": bool(row["pareto_parameters"]), "fast": bool(row["pareto_latency"])}
    return {name: _number(row[name]) for name in names} | marks


def _ranking(ranking: OverallRanking) -> dict[str, Any]:
    text = ranking_table(ranking)
    return {"title": ranking.title, "notes": ranking.notes, "columns": list(text), "rows": text.to_numpy().tolist()}


def _plots(trajectory: pd.DataFrame | None) -> dict[str, Any]:
    if trajectory is None or trajectory.empty:
        return {"epoch": [], "parameters": [], "dice": [], "widths": []}
    rows = trajectory.sort_values("step", ignore_index=True)
    best = int(rows["validation_dice"].to_numpy().argmax())
    kept = sorted(
        {round(each * (len(rows) - 1) / (_MOST_CHECKPOINTS - 1)) for each in range(_MOST_CHECKPOINTS)} | {best}
    )
    some = rows.iloc[[each for each in kept if each < len(rows)]]
    return {
        "epoch": some["epoch"].astype(int).tolist(),
        "parameters": some["parameters"].astype(int).tolist(),
        "dice": [round(float(each), 4) for each in some["validation_dice"]],
        "widths": [list(map(int, rows["widths"].iloc[each].split())) for each in sorted({0, best})],
    }


def _number(value: Any) -> Any:
    """As JSON has it; NaN is null."""
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else round(float(value), 6)


def _order(value: Any) -> str:
    """What a column is sorted by; what is not known has the number that page.js puts last."""
    return "1e300" if isinstance(value, float) and math.isnan(value) else str(value)
