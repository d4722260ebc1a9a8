"""Static web pages of leaderboards and runs; they open from disk and need no network connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from stampbench.reports.board_data import board_data, most_informative
from stampbench.reports.leaderboard import Board
from stampbench.reports.looks import looks
from stampbench.reports.overall import OverallRanking
from stampbench.reports.paired_runs import RUN
from stampbench.reports.run_data import RunDetails, run_data
from stampbench.reports.table_formats import ranking_table

_STATIC = ("page.css", "table.js", "plot.js", "board.js", "pair.js", "run.js")


class About(NamedTuple):
    """What the footer says of a page, and what strategies are.

    Attributes:
        date: day on which the page is made.
        version: version of this package.
        commit: commit of its checkout; empty for an installed package.
        citation: how to cite it.
        strategies: a line about each strategy, by its name.
        datasets: a line about each dataset, by its name; datasets of users have none.
    """

    date: str
    version: str
    commit: str
    citation: str
    strategies: Mapping[str, str]
    datasets: Mapping[str, str] = {}


def write_page(
    folder: Path,
    boards: Sequence[Board],
    rankings: Sequence[OverallRanking],
    runs: pd.DataFrame,
    trajectories: pd.DataFrame,
    details: Iterable[RunDetails],
    about: About,
) -> int:
    """Write `index.html`, `runs/ID.html` for each run, and the scripts and styles that they use.

    Args:
        folder: folder of the pages; it is created if it does not exist.
        boards: leaderboards.
        rankings: rankings over several datasets.
        runs: rows of `runs` as for `leaderboards`.
        trajectories: a row per checkpoint with `run`, `step`, `epoch`, `parameters`, `validation_dice` and `widths`.
        details: contents of the page of each run.
        about: contents of the footer, and descriptions of strategies.

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

    assets = resources.files("stampbench.reports") / "assets"
    for name in _STATIC:
        write(name, (assets / name).read_text())
    styles = looks(runs["strategy"])
    write(
        "index.html",
        templates.get_template("index.html").render(
            boards=[
                board_data(board, runs, styles) | {"dataset": about.datasets.get(board.about["dataset"], "")}
                for board in boards
            ],
            first=most_informative(boards),
            rankings=[_ranking_context(each) for each in rankings],
            runs=len(runs),
            strategies={name: about.strategies.get(name, "") for name in sorted(set(runs["name"]))},
            footer=_footer(runs, about),
        ),
    )
    page = templates.get_template("run.html")
    by_run = dict(tuple(trajectories.groupby("run"))) if len(trajectories) else {}
    beside = _neighbours(boards, runs)
    for each in details:
        if isinstance(each.picture, bytes):
            write(f"runs/{each.run}.webp", each.picture)
        context = each._asdict() | {"data": run_data(each, by_run.get(each.run))}
        before, after, group = beside[each.run]
        context |= {"before": before, "after": after, "group": group, "drawn": not isinstance(each.picture, str)}
        write(f"runs/{each.run}.html", page.render(context))
    return written


def _neighbours(boards: Sequence[Board], runs: pd.DataFrame) -> dict[str, tuple[str, str, str]]:
    """Return the run before and the run after each run, in the order of its leaderboard, and the leaderboard."""
    found = {}
    for board in boards:
        own = runs[runs["group"] == board.about["group"]].sort_values(["strategy", *RUN])["run"].astype(str).tolist()
        for before, run, after in zip(["", *own[:-1]], own, [*own[1:], ""], strict=True):
            found[run] = (before, after, str(board.about["group"]))
    return found


def _footer(runs: pd.DataFrame, about: About) -> dict[str, Any]:
    """Return what the footer shows; the checksum of the data is that of each dataset's images and labels."""
    data = runs.drop_duplicates(["dataset", "data_checksum"]).sort_values(["dataset", "data_checksum"])
    checksums = [f"{row['dataset']} {row['data_checksum'][:8]}" for row in data.to_dict("records")]
    return about._asdict() | {"commit": about.commit[:12], "checksums": checksums}


def _ranking_context(ranking: OverallRanking) -> dict[str, Any]:
    text = ranking_table(ranking)
    return {"title": ranking.title, "notes": ranking.notes, "columns": list(text), "rows": text.to_numpy().tolist()}
