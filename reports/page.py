"""Static web pages of leaderboards and runs; they open from disk and need no network connection."""

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
from stampbench.reports.overall import OverallRanking
from stampbench.reports.palette import COLOURS, palette_positions
from stampbench.reports.table_formats import board_table, ranking_table

_MAX_CHECKPOINTS = 40
"""Longer trajectories are thinned out to this many checkpoints, so that reports of two thousand runs stay small."""


class RunDetails(NamedTuple):
    """The contents of a run's page.

    `facts` and `provenance` are shown as name and value; `command` reproduces the run; `worst` holds case, Dice and
    HD95 of the worst test cases; `picture` is a WebP image of these cases side by side, or the reason why there is
    none.
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
    """Write `index.html`, `runs/ID.html` for each run, and the scripts and styles that they use.

    Tables use DataTables (from the package itables), plots use plotly.js (from the package plotly); both are copied
    into the folder.

    Args:
        folder: folder of the pages; it is created if it does not exist.
        boards: leaderboards.
        rankings: rankings over several datasets.
        runs: rows of `runs` as for `leaderboards`.
        trajectories: a row per checkpoint with `run`, `step`, `epoch`, `parameters`, `validation_dice` and `widths`.
        details: contents of the page of each run.

    Returns:
        The number of bytes written.

    Raises:
        OSError: when the folder cannot be written.
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

    for name, content in _static_files().items():
        write(name, content)
    index = templates.get_template("index.html")
    positions = palette_positions(runs["strategy"])
    tables = [_board_context(board, runs, positions) for board in boards]
    write(
        "index.html",
        index.render(
            boards=tables, colours=COLOURS, rankings=[_ranking_context(each) for each in rankings], runs=len(runs)
        ),
    )
    page = templates.get_template("run.html")
    by_run = dict(tuple(trajectories.groupby("run"))) if len(trajectories) else {}
    for each in details:
        if isinstance(each.picture, bytes):
            write(f"runs/{each.run}.webp", each.picture)
        data = _plot_data(by_run.get(each.run))
        write(
            f"runs/{each.run}.html",
            page.render(each._asdict() | {"data": data, "drawn": not isinstance(each.picture, str)}),
        )
    return written


def _static_files() -> dict[str, str | bytes]:
    """Return the scripts and styles that all pages use, by file name."""
    assets = resources.files("stampbench.reports") / "assets"
    html = resources.files("itables") / "html"
    return {
        "page.css": (assets / "page.css").read_text(),
        "page.js": (assets / "page.js").read_text(),
        "plotly.js": (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes(),
        "tables.js": _classic((html / "dt_bundle.js").read_text()),
        "tables.css": (html / "dt_bundle.css").read_text(),
    }


def _classic(bundle: str) -> str:
    """Convert a JavaScript module into a classic script, because browsers do not load modules from disk.

    Raises:
        ValueError: when the module does not have exactly one export statement.
    """
    exports = list(re.finditer(r"export\s*\{([^}]*)\};?", bundle))
    if len(exports) != 1:
        raise ValueError(
            f"the table library of the package itables is not built as expected: {len(exports)} export statements"
        )
    local_names = {
        exported: local for local, _, exported in (pair.strip().partition(" as ") for pair in exports[0][1].split(","))
    }
    start, end = exports[0].span()
    assignment = f"window.jQuery={local_names['jQuery']};"
    return f"(function(){{{bundle[:start]};{assignment}{bundle[end:]}\n}})();\n"


def _board_context(board: Board, runs: pd.DataFrame, positions: Mapping[str, int]) -> dict[str, Any]:
    """Return what the template shows of a leaderboard: its table, the points of its plots, and its runs."""
    text = board_table(board)
    numbers = {
        "tier": "tier", "Dice (95 %)": "dice", "Δ to standard (95 %)": "difference", "NSD": "nsd",
        "empty": "empty_rate", "parameters": "parameters", "FLOPs": "flops", "latency": "latency_ratio",
        "epochs": "epochs", "sets × folds × seeds": "runs",
        f"HD95 median, 90th [{board.about['unit']}]": "hd95_median",
        f"HD95 non-empty [{board.about['unit']}]": "hd95_nonempty",
    }  # fmt: skip
    board_runs = runs[runs["group"] == board.about["group"]].sort_values(["strategy", "training_set", "fold", "seed"])
    return {
        "title": board.title,
        "notes": board.notes,
        "columns": list(text),
        "rows": [
            {
                "strategy": strategy,
                "cells": [(cell, _sort_key(board.rows[numbers[name]].iloc[index]) if name in numbers else "")
                          for name, cell in zip(text, row, strict=True)],
            }
            for index, (strategy, row) in enumerate(zip(board.rows["strategy"], text.to_numpy().tolist(), strict=True))
        ],
        "points": [_point(row) | {"place": positions[row["strategy"]]} for row in board.rows.to_dict("records")],
        "unit": board.about["unit"],
        "runs": board_runs.to_dict("records"),
    }  # fmt: skip


def _point(row: dict[Any, Any]) -> dict[str, Any]:
    """Return a point of the plots; `small` and `fast` say whether it is on a Pareto front."""
    names = ("strategy", "dice", "dice_low", "dice_high", "parameters", "latency_ratio", "flops")
    marks = {"small": bool(row["pareto_parameters"]), "fast": bool(row["pareto_latency"])}
    return {name: _number(row[name]) for name in names} | marks


def _ranking_context(ranking: OverallRanking) -> dict[str, Any]:
    text = ranking_table(ranking)
    return {"title": ranking.title, "notes": ranking.notes, "columns": list(text), "rows": text.to_numpy().tolist()}


def _plot_data(trajectory: pd.DataFrame | None) -> dict[str, Any]:
    """Return the points of a run's plots; the best checkpoint is always among them."""
    if trajectory is None or trajectory.empty:
        return {"epoch": [], "parameters": [], "dice": [], "widths": []}
    rows = trajectory.sort_values("step", ignore_index=True)
    best = int(rows["validation_dice"].to_numpy().argmax())
    kept = sorted({round(each * (len(rows) - 1) / (_MAX_CHECKPOINTS - 1)) for each in range(_MAX_CHECKPOINTS)} | {best})
    shown = rows.iloc[[each for each in kept if each < len(rows)]]
    return {
        "epoch": shown["epoch"].astype(int).tolist(),
        "parameters": shown["parameters"].astype(int).tolist(),
        "dice": [round(float(each), 4) for each in shown["validation_dice"]],
        "widths": [list(map(int, rows["widths"].iloc[each].split())) for each in sorted({0, best})],
    }


def _number(value: Any) -> Any:
    """Return a value for JSON: numbers rounded to six digits, NaN as None."""
    if isinstance(value, str):
        return value
    return None if not math.isfinite(value) else round(float(value), 6)


def _sort_key(value: Any) -> str:
    """Return the value that a column is sorted by.

    page.js sorts 1e300, which stands for a missing number, last; 1e299 is a distance to an empty mask.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "1e300" if math.isnan(value) else "1e299"
    return str(value)
