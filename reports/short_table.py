"""The columns of a leaderboard that fit a terminal: one line per strategy."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from stampbench.reports.budget import short
from stampbench.reports.leaderboard import Board


def short_table(board: Board) -> pd.DataFrame:
    """Return the rows of a leaderboard as text: strategy, Dice, Δ with decision, parameters, latency, epochs, runs.

    The column `latency` is dropped if no row has a value. The half-width behind Dice is that of the
    95 % interval over runs and subjects; it is missing where there are too few runs.
    """
    rows = board.rows.to_dict("records")
    table = pd.DataFrame(
        {
            "strategy": [row["strategy"] for row in rows],
            "Dice": [dice_text(row) for row in rows],
            "Δ to standard": [difference_text(row) for row in rows],
            "parameters": [short(row["parameters"]) for row in rows],
            "latency": ["–" if math.isnan(row["latency_ratio"]) else f"{row['latency_ratio']:.2f}" for row in rows],
            "epochs": [f"{row['epochs']:,}" for row in rows],
            "runs": [str(row["runs"]) for row in rows],
        }
    )
    return table.drop(columns=["latency"]) if table["latency"].eq("–").all() else table


def dice_text(row: dict[Any, Any]) -> str:
    """Return the Dice of a row with the half-width of its interval, aligned to the right."""
    if math.isnan(row["dice_low"]):
        return f"{row['dice']:.3f}      "
    return f"{row['dice']:.3f} ±{(row['dice_high'] - row['dice_low']) / 2:.3f}".replace("±0.", "±.")


def difference_text(row: dict[Any, Any]) -> str:
    """Return the difference of a row to the standard network with its decision."""
    decision = str(row["decision"]).removeprefix("too ")
    difference = "" if math.isnan(row["difference"]) else f"{row['difference']:+.3f} "
    return decision if decision == "reference" else f"{difference}{decision}"
