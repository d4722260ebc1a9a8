"""Columns of a leaderboard for readers: heading, explanation, text, and which end is best."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.budget import short
from stampbench.reports.leaderboard import Board
from stampbench.reports.listing import Listing, plain_text


class Column(NamedTuple):
    """A column of a leaderboard.

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
               lambda row: dice_text(row), True),
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
        Column("validation_dice", "validation Dice", "Dice on the validation images, by which networks are selected",
               "high", _number("validation_dice", ".3f")),
        Column("training_sets", "training sets", "Independent draws of the training images", "high",
               lambda row: str(row["training_sets"])),
        Column("pareto_parameters", "Pareto front", "No other strategy has more Dice and a lower cost", "high",
               _fronts),
    )  # fmt: skip


def board_listing(board: Board) -> Listing:
    """Return a leaderboard as a table whose columns can be chosen: all of `Board.rows`, of which some are hidden."""
    named = columns(str(board.about["unit"]))
    shown = [each for each in named if each.key == "strategy" or board.rows[each.key].notna().any()]
    keys = [each.key for each in shown]
    hidden = [name for name in map(str, board.rows) if name not in keys]
    rows = board.rows.to_dict("records")
    texts = {each.key: [each.text(row) for row in rows] for each in named}
    texts |= {name: [plain_text(row[name]) for row in rows] for name in hidden if name not in texts}
    titles = {each.key: each.title for each in named}
    return Listing(
        title=board.title,
        values=board.rows[[*keys, *hidden]],
        texts=pd.DataFrame(texts, board.rows.index),
        titles={name: titles.get(name, name.replace("_", " ")) for name in (*keys, *hidden)},
        left=("strategy", "difference", "decision", "pareto_parameters"),
        notes=board.notes,
        short=tuple(each.key for each in shown if each.shown),
        caption=_caption(board),
        hidden=tuple(hidden),
    )


def _caption(board: Board) -> str:
    """Return what a reader of the printed table has to know, in one line."""
    about, latency = board.about, [note for note in board.notes if note.startswith("Latency: relative")]
    return " ".join(
        [
            f"{about['dataset']}, {about['n_train']} training images, protocol {about['protocol']}.",
            "Dice: mean over runs and test subjects ± half of its 95 % confidence interval over runs and subjects.",
            "Δ: difference to the standard network over common runs, with the decision about it.",
            *(note.split(" on ")[0] + "." for note in latency),
        ]
    )


def dice_text(row: dict[Any, Any]) -> str:
    """Return the Dice of a row with the half-width of its interval."""
    if math.isnan(row["dice_low"]):
        return f"{row['dice']:.3f}"
    return f"{row['dice']:.3f} ±{(row['dice_high'] - row['dice_low']) / 2:.3f}".replace("±0.", "±.")


def difference_text(row: dict[Any, Any]) -> str:
    """Return the difference of a row to the standard network with its decision."""
    decision = str(row["decision"]).removeprefix("too ")
    difference = "" if math.isnan(row["difference"]) else f"{row['difference']:+.3f} "
    return decision if decision == "reference" else f"{difference}{decision}"
