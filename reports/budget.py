"""Budgets of size, cost and speed, and the answer of a leaderboard: which strategies are best within them."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd

from stampbench.reports.leaderboard import LEARNT, Board


class Budget(NamedTuple):
    """Upper limits of a strategy's means over its runs; None: no limit.

    Attributes:
        parameters: parameters of the selected network.
        flops: FLOPs of one image.
        latency: latency relative to the standard network.
        epochs: epochs charged.
    """

    parameters: float | None = None
    flops: float | None = None
    latency: float | None = None
    epochs: float | None = None

    def fits(self, rows: pd.DataFrame) -> pd.Series[bool]:
        """Return which rows of a leaderboard are within it; a strategy without latency is not within a limit of it."""
        within = pd.Series(True, rows.index)
        for name, limit in self._asdict().items():
            if limit is not None:
                within &= rows[_COLUMNS.get(name, name)] <= limit
        return within

    def __str__(self) -> str:
        """Return the limits in words, such as "20 k parameters and 0.9 × latency"."""
        limits = [
            f"{limit:g} × latency" if name == "latency" else f"{exact(limit)} {_WORDS.get(name, name)}"
            for name, limit in self._asdict().items()
            if limit is not None
        ]
        return " and ".join([", ".join(limits[:-1]), limits[-1]]) if len(limits) > 1 else "".join(limits)


_NAMED = 6
"""Most strategies that an answer names."""
_COLUMNS = {"latency": "latency_ratio"}
_WORDS = {"flops": "FLOPs"}


def within(board: Board, budget: Budget) -> Board:
    """Return a leaderboard with the rows that are within a budget."""
    return board._replace(rows=board.rows[budget.fits(board.rows)].reset_index(drop=True))


def answer(board: Board, budget: Budget) -> str:
    """Return the answer of a leaderboard in a sentence: the strategies of the best tier within a budget.

    Strategies with too few runs, which no tier separates, are only counted if others have enough; if none has, the
    answer says so.

    Args:
        board: the leaderboard, with all of its rows.
        budget: the budget; without limits, all rows are considered.
    """
    start = f"Up to {budget}: " if str(budget) else "Best: "
    fitting = within(board, budget).rows
    if fitting.empty:
        return f"{start}no strategy. {_nearest(board, budget)}"
    best = fitting[fitting["tier"] == fitting["tier"].min()]
    if float(fitting["dice"].max()) < LEARNT:
        return f"{start}no strategy reaches Dice {LEARNT:g}: too little is learnt here to recommend one."
    enough = best[best["dice_low"].notna()]
    named = enough if len(enough) else best
    rest = len(best) - len(named)
    more = f" {rest} more {'has' if rest == 1 else 'have'} too few runs." if rest else ""
    more = more if len(enough) else " Too few runs to decide."
    if len(named) > _NAMED:
        least = named.iloc[int(named["parameters"].argmin())]
        size = f"{short(least['parameters'])} parameters"
        return f"{start}{len(named)} strategies, not separated; the smallest is {least['strategy']} ({size}).{more}"
    return f"{start}{', '.join(named['strategy'])}{'; not separated' if len(named) > 1 else ''}.{more}"


def _nearest(board: Board, budget: Budget) -> str:
    """Name the strategy with the smallest value of the first limit."""
    name = next(name for name, limit in budget._asdict().items() if limit is not None)
    values = board.rows[_COLUMNS.get(name, name)]
    if values.isna().all():
        return f"No {name} is known."
    row = board.rows.iloc[int(values.argmin(skipna=True))]
    value = f"{values.min():.2f} × latency" if name == "latency" else f"{short(values.min())} {_WORDS.get(name, name)}"
    return f"The least is {value} ({row['strategy']})."


def short(number: float) -> str:
    """Return a number with three digits and a unit, such as "20.0 k" or "1.41 M"; below 1,000 as it is."""
    factor, unit = _unit(number)
    if not unit:
        return f"{number:g}"
    digits = 2 - math.floor(math.log10(number / factor * 1.0005))
    return f"{number / factor:.{max(digits, 0)}f} {unit}"


def exact(number: float) -> str:
    """Return a number with a unit and all of its digits, such as "20 k"."""
    factor, unit = _unit(number)
    return f"{number / factor:.6g} {unit}".strip()


def _unit(number: float) -> tuple[float, str]:
    units = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
    return next((each for each in units if number >= each[0] * 0.9995), (1.0, ""))
