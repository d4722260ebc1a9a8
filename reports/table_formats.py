"""Leaderboards, tables by class and overall rankings as markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from stampbench.reports import listing
from stampbench.reports.board_columns import board_listing
from stampbench.reports.by_class import ClassTable, class_listing
from stampbench.reports.escape import markdown, spreadsheet
from stampbench.reports.leaderboard import Board
from stampbench.reports.listing import Listing
from stampbench.reports.overall import OverallRanking

Table = Board | ClassTable
"""A table of one group of comparable runs."""


def to_markdown(boards: Sequence[Table], rankings: Sequence[OverallRanking] = ()) -> str:
    """Return markdown with the title, table and notes of every ranking and leaderboard."""
    return "\n".join(
        f"### {markdown(each.title)}\n\n{_tabulate(_markdown_table(each), 'github')}\n\n"
        f"{chr(10).join(map(markdown, each.notes))}\n"
        for each in _rankings_first(boards, rankings)
    )


def to_latex(boards: Sequence[Table], rankings: Sequence[OverallRanking] = ()) -> str:
    """Return a LaTeX `table` with at most seven columns for each; the caption explains them, notes are a comment."""
    return listing.to_latex([listing_of(each).arranged(short=True) for each in _rankings_first(boards, rankings)])


def listing_of(table: Table | OverallRanking) -> Listing:
    """Return a table whose columns and order can be chosen."""
    if isinstance(table, Board):
        return board_listing(table)
    if isinstance(table, ClassTable):
        return class_listing(table)
    text = _text_table(table)
    wanted = ("rank", "strategy", "class", "mean rank (95 %)", "first", "Dice", "sensitivity", "precision", "IQM",
              "P(better) (95 %)", "empty")  # fmt: skip
    return Listing(
        table.title, text, text, {name: name for name in map(str, text)}, ("strategy", "class"), table.notes,
        tuple(name for name in wanted if name in text), f"{table.title}. {table.notes[0]}",
    )  # fmt: skip


def to_csv(boards: Sequence[Table], rankings: Sequence[OverallRanking] = ()) -> str:
    """Return all leaderboards as one CSV table; the first columns hold `Board.about`. Rankings are not included."""
    return str(spreadsheet(board_frame(boards)).to_csv(index=False)) if boards else ""


def board_frame(boards: Sequence[Table]) -> pd.DataFrame:
    """Return the rows of all leaderboards as one data frame; the first columns hold `Board.about`."""
    tables = [board.rows.assign(**board.about)[[*board.about, *board.rows]] for board in boards]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def to_json(boards: Sequence[Table], rankings: Sequence[OverallRanking] = ()) -> str:
    """Return JSON with the title, notes and rows of every leaderboard and ranking."""
    content = {
        "boards": [
            {"title": each.title, "about": dict(each.about), "notes": each.notes, "rows": json_rows(each.rows)}
            for each in boards
        ],
        "overall": [{"title": each.title, "notes": each.notes, "rows": json_rows(each.rows)} for each in rankings],
    }
    return json.dumps(content, indent=1) + "\n"


FORMATS: dict[str, Callable[[Sequence[Table], Sequence[OverallRanking]], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
"""Functions that format leaderboards and rankings, by the name of the format."""


def _rankings_first(boards: Sequence[Table], rankings: Sequence[OverallRanking]) -> list[Table | OverallRanking]:
    return [*rankings, *boards]


def board_table(board: Board) -> pd.DataFrame:
    """Return the rows of a leaderboard as formatted text, with readable column headings.

    The columns `NSD`, `average Hausdorff` and `latency` are dropped if no row has a value.
    """
    rows, unit = board.rows, board.about["unit"]
    table = pd.DataFrame(
        {
            "tier": rows["tier"].astype(str),
            "strategy": rows["strategy"],
            "Dice (95 %)": [
                _with_interval(*each) for each in zip(rows["dice"], rows["dice_low"], rows["dice_high"], strict=True)
            ],
            "Δ to standard (95 %)": [
                format_difference(*each)
                for each in zip(rows["difference"], rows["difference_low"], rows["difference_high"], strict=True)
            ],
            "decision": rows["decision"],
            "NSD": rows["nsd"].map(lambda nsd: _or_dash(nsd, ".3f")),
            f"HD95 median, 90th [{unit}]": [
                f"{_distance(median)}, {_distance(p90)}"
                for median, p90 in zip(rows["hd95_median"], rows["hd95_p90"], strict=True)
            ],
            f"HD95 non-empty [{unit}]": rows["hd95_nonempty"].map(lambda mean: _or_dash(mean, ".2f")),
            f"average Hausdorff [{unit}]": rows["average_hausdorff"].map(lambda mean: _or_dash(mean, ".3f")),
            "empty": rows["empty_rate"].map("{:.1%}".format),
            "parameters": rows["parameters"].map("{:,}".format),
            "FLOPs": rows["flops"].map("{:,}".format),
            "latency": rows["latency_ratio"].map(lambda ratio: _or_dash(ratio, ".2f")),
            "epochs": rows["epochs"].map("{:,}".format),
            "sets × folds × seeds": [_design(row) for row in rows.to_dict("records")],
            "Pareto": [_pareto_fronts(row) for row in rows.to_dict("records")],
        }
    )
    return _without_empty(table, ("NSD", f"average Hausdorff [{unit}]", "latency"))


def class_text(classes: ClassTable) -> pd.DataFrame:
    """Return the rows of a table by class as formatted text, with readable column headings.

    Columns of scores that no run recorded are dropped.
    """
    rows, unit = classes.rows, classes.about["unit"]
    shares = {"Dice": "dice", "sensitivity": "sensitivity", "precision": "precision", "NSD": "nsd"}
    table = pd.DataFrame(
        {
            "strategy": rows["strategy"],
            "class": rows["class"],
            **{title: rows[name].map(lambda share: _or_dash(share, ".3f")) for title, name in shares.items()},
            f"HD95 median, 90th [{unit}]": [
                f"{_distance(median)}, {_distance(p90)}"
                for median, p90 in zip(rows["hd95_median"], rows["hd95_p90"], strict=True)
            ],
            f"average Hausdorff [{unit}]": rows["average_hausdorff"].map(lambda mean: _or_dash(mean, ".3f")),
            "empty": rows["empty_rate"].map("{:.1%}".format),
            "runs": rows["runs"].astype(str),
        }
    )
    return _without_empty(table, ("sensitivity", "precision", "NSD", f"average Hausdorff [{unit}]"))


def _without_empty(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return table.drop(columns=[name for name in names if table[name].eq("–").all()])


def format_difference(mean: float, low: float, high: float) -> str:
    """Format a difference of Dice with its interval; a dash if there is no difference."""
    if math.isnan(mean):
        return "–"
    return f"{mean:+.4f}" if math.isnan(low) else f"{mean:+.4f} ({low:+.4f} to {high:+.4f})"


def format_p(p: float) -> str:
    """Format a p-value as in papers; NaN (a test that was not possible) becomes a dash."""
    if math.isnan(p):
        return "–"
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _text_table(table: Table | OverallRanking) -> pd.DataFrame:
    if isinstance(table, ClassTable):
        return class_text(table)
    return board_table(table) if isinstance(table, Board) else ranking_table(table)


def ranking_table(ranking: OverallRanking) -> pd.DataFrame:
    """Return the rows of an overall ranking as formatted text, with readable column headings."""
    rows = ranking.rows
    result = pd.DataFrame(
        {
            "rank": rows["rank"].astype(str),
            "strategy": rows["strategy"],
            "mean rank (95 %)": [
                f"{mean:.2f} ({low:.2f} to {high:.2f})"
                for mean, low, high in zip(rows["mean_rank"], rows["low"], rows["high"], strict=True)
            ],
            "first": [f"{share:.0%}" for share in rows["first"]],
            "IQM": rows["iqm"].map("{:.3f}".format),
            "P(better) (95 %)": [
                "–" if math.isnan(mean) else f"{mean:.2f} ({low:.2f} to {high:.2f})"
                for mean, low, high in zip(
                    rows["improvement"], rows["improvement_low"], rows["improvement_high"], strict=True
                )
            ],
        }
    )
    for name in (name for name in rows if str(name).startswith("rank ")):
        result[str(name).removeprefix("rank ")] = rows[name].map("{:.2f}".format)
    return result


def _pareto_fronts(row: dict[Any, Any]) -> str:
    """Name the Pareto fronts that a row is on."""
    fronts = {"parameters": row["pareto_parameters"], "latency": row["pareto_latency"]}
    return " ".join(name for name, on_front in fronts.items() if on_front)


def _with_interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f} (too few runs)" if math.isnan(low) else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def _or_dash(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _distance(value: float) -> str:
    return "empty" if math.isinf(value) else f"{value:.2f}"


def _design(row: dict[Any, Any]) -> str:
    """Return "sets × folds × seeds"; the number of runs if not every combination was run."""
    parts = [row["training_sets"], row["folds"], row["seeds"]]
    return " × ".join(map(str, parts)) if math.prod(parts) == row["runs"] else f"{row['runs']} runs"


def _tabulate(table: pd.DataFrame, style: str) -> str:
    return tabulate(
        table.values.tolist(), headers=list(table.columns), tablefmt=style, disable_numparse=True,
        colalign=["left" if name in ("strategy", "class", "decision", "Pareto") else "right" for name in table],
    )  # fmt: skip


def _markdown_table(table: Table | OverallRanking) -> pd.DataFrame:
    text = _text_table(table)
    return text.assign(strategy=text["strategy"].map(markdown)).rename(columns=markdown)


def json_rows(rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows for JSON: NaN becomes null, and a distance that is infinite because masks are empty `"empty"`."""
    infinite = {str(name) for name in rows if rows[name].dtype.kind == "f" and np.isinf(rows[name]).any()}
    rows = rows.astype(dict.fromkeys(infinite, object)).replace({math.inf: "empty"})
    return list(json.loads(rows.to_json(orient="records")))
