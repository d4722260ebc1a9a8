"""A leaderboard as data of the web page: columns with explanations, rows as text and numbers, runs and pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.budget import short
from stampbench.reports.decision import decide
from stampbench.reports.leaderboard import LEARNT, Board
from stampbench.reports.looks import Look
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.paired_runs import RUN, estimate, pair
from stampbench.reports.short_table import dice_text, difference_text
from stampbench.reports.suitability import suitability
from stampbench.reports.table_formats import json_rows


class Column(NamedTuple):
    """A column of the leaderboard on the page.

    Attributes:
        key: column of `Board.rows` by which it is sorted.
        title: heading.
        help: what it is, in a sentence.
        best: `high` or `low`: which end comes first on the first click; empty for texts.
        text: returns the text of a row.
        shown: whether it is shown at first.
    """

    key: str
    title: str
    help: str
    best: str
    text: Callable[[dict[Any, Any]], str]
    shown: bool = False


def _number(key: str, form: str) -> Callable[[dict[Any, Any]], str]:
    def text(row: dict[Any, Any]) -> str:
        value = row[key]
        return "–" if math.isnan(value) else "empty" if math.isinf(value) else format(value, form)

    return text


def _fronts(row: dict[Any, Any]) -> str:
    fronts = {"parameters": row["pareto_parameters"], "latency": row["pareto_latency"]}
    return ", ".join(name for name, on_front in fronts.items() if on_front) or "–"


def columns(unit: str) -> tuple[Column, ...]:
    """Return all columns of a leaderboard.

    Args:
        unit: unit of distances.
    """
    return (
        Column("strategy", "strategy", "How the network came about; the mark is that of the plots", "",
               lambda row: row["strategy"], True),
        Column("dice", "Dice", "Mean test Dice, with half the 95 % confidence interval over runs and subjects", "high",
               lambda row: dice_text(row).strip(), True),
        Column("difference", "Δ to standard", "Dice minus that of the standard network in the same runs, and decision",
               "high", difference_text, True),
        Column("parameters", "parameters", "Trainable parameters of the selected network, mean over runs", "low",
               lambda row: short(row["parameters"]), True),
        Column("latency_ratio", "latency", "Time of one image relative to the standard network", "low",
               _number("latency_ratio", ".2f"), True),
        Column("epochs", "epochs", "Training epochs charged, parent runs included, mean over runs", "low",
               lambda row: f"{row['epochs']:,}", True),
        Column("runs", "runs", "Number of runs; click a number to list them", "high", lambda row: str(row["runs"]),
               True),
        Column("tier", "tier", "Strategies of one tier are not separated by these runs", "low",
               lambda row: str(row["tier"])),
        Column("flops", "FLOPs", "Floating-point operations of one image: twice the multiply-accumulates", "low",
               lambda row: short(row["flops"])),
        Column("cases_low", "95 % (cases)", "Interval over subjects, for these trained networks only", "high",
               lambda row: f"{row['cases_low']:.3f} to {row['cases_high']:.3f}"),
        Column("p_holm", "p (Holm)", "p-value of Δ, corrected for the number of rows", "low",
               _number("p_holm", ".3f")),
        Column("run_sd", "sd of runs", "Standard deviation of mean Dice between runs", "low",
               _number("run_sd", ".3f")),
        Column("nsd", "NSD", "Normalised surface Dice", "high", _number("nsd", ".3f")),
        Column("empty_rate", "empty masks", "Share of masks where only prediction or reference is empty", "low",
               _number("empty_rate", ".1%")),
        Column("hd95_median", f"HD95 median [{unit}]", "Median of the 95th percentile of surface distances", "low",
               _number("hd95_median", ".2f")),
        Column("hd95_p90", f"HD95 90th [{unit}]", "90th percentile of HD95; empty masks rank worst", "low",
               _number("hd95_p90", ".2f")),
        Column("hd95_nonempty", f"HD95 non-empty [{unit}]", "Mean HD95 where neither mask is empty", "low",
               _number("hd95_nonempty", ".2f")),
        Column("average_hausdorff", f"average Hausdorff [{unit}]", "Mean set distance, as in PocketNet's tables", "low",
               _number("average_hausdorff", ".3f")),
        Column("ranking_passes", "ranking passes", "Passes over the training images that score filters", "low",
               lambda row: f"{row['ranking_passes']:,}"),
        Column("training_sets", "training sets", "Independent draws of the training images", "high",
               lambda row: str(row["training_sets"])),
        Column("pareto_parameters", "Pareto front", "No other strategy has more Dice and a lower cost", "high",
               _fronts),
    )  # fmt: skip


def board_data(board: Board, runs: pd.DataFrame, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Return what the page shows of a leaderboard, ready for JSON.

    Args:
        board: the leaderboard.
        runs: rows of `runs` as for `leaderboards`; those of other leaderboards are ignored.
        looks: the look of every strategy.
    """
    own = runs[runs["group"] == board.about["group"]].sort_values(["strategy", *RUN])
    names = dict(zip(own["strategy"], own["name"], strict=True))
    rows = board.rows.to_dict("records")
    shown = [
        column
        for column in columns(str(board.about["unit"]))
        if column.key == "strategy" or board.rows[column.key].notna().any()
    ]
    return {
        "group": board.about["group"],
        "label": f"{board.about['dataset']}, {board.about['n_train']} images, {board.about['protocol']}",
        "title": board.title,
        "notes": board.notes,
        "columns": [column._asdict() | {"text": None} for column in shown],
        "rows": [
            {
                "name": names[row["strategy"]],
                "look": looks[row["strategy"]]._asdict(),
                "text": {column.key: column.text(row) for column in shown},
                "raw": raw,
            }
            for row, raw in zip(rows, json_rows(board.rows), strict=True)
        ],
        "runs": [_run(row) for row in own.to_dict("records")],
        **_pairs(board, own),
    }


def most_informative(boards: Sequence[Board]) -> int:
    """Return the position of the leaderboard to show first.

    That is one on which something is learnt, with the most strategies that have enough runs for a decision; then the
    one with most runs, and then the one that separates strategies best.
    """

    def information(board: Board) -> tuple[bool, int, int, float]:
        enough = int((board.rows["common_runs"] >= MIN_READERS).sum())
        ratio = suitability(board.scores)
        runs = int(board.rows["runs"].sum())
        return float(board.rows["dice"].max()) >= LEARNT, enough, runs, 0.0 if math.isnan(ratio) else ratio

    return max(range(len(boards)), key=lambda number: information(boards[number]), default=0)


def _run(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "run": row["run"],
        "strategy": row["strategy"],
        "training_set": row["training_set"],
        "fold": row["fold"],
        "seed": row["seed"],
        "dice": round(row["test_dice"], 4),
        "hd95": round(row["test_hd95"], 2),
        "parameters": int(row["parameters"]),
        "epochs": int(row["epochs"]),
    }


def _pairs(board: Board, runs: pd.DataFrame) -> dict[str, Any]:
    """Return Dice by run and subject, in thousandths, and the analysis of every two strategies.

    An analysis is a list: mean, lower and upper bound, decision, number of pairs of runs.
    """
    subjects = sorted(set().union(*(table.columns for table in board.scores.values())), key=str)
    sets = runs["training_set"].nunique() > 1
    margin = float(runs["equivalence_margin"].min())
    pairs = {}
    for one, other in combinations(board.rows["strategy"], 2):
        paired = pair(board.scores[one], board.scores[other])
        found = estimate(paired, sets=sets)
        values = [None if math.isnan(each) else round(each, 5) for each in (found.mean, *found.interval())]
        pairs[f"{one}\n{other}"] = [*values, decide(found, margin) if len(paired) else "no common runs", len(paired)]
    scores = {
        strategy: {
            ",".join(map(str, run)): [None if math.isnan(each) else round(1000 * each) for each in row]
            for run, row in zip(table.index, table.reindex(columns=subjects).to_numpy(), strict=True)
        }
        for strategy, table in board.scores.items()
    }
    return {"subjects": [str(each) for each in subjects], "scores": scores, "pairs": pairs, "margin": margin}
