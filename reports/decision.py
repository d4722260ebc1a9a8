"""Decisions about a difference: better, worse, equivalent, or undecided."""

from __future__ import annotations

from typing import Literal

from stampbench.reports.multi_reader import Estimate

MARGIN = 0.01
"""Margin of equivalence in Dice, unless a dataset's definition sets another one."""
Decision = Literal["better", "worse", "equivalent", "undecided", "too few runs"]

PRINTED = 5e-5
"""A smaller difference is printed as 0.0000, and never decides."""


def decide(difference: Estimate, margin: float = MARGIN, p: float | None = None) -> Decision:
    """Decide about the difference of a strategy to its reference.

    Args:
        difference: strategy minus reference.
        margin: margin of equivalence δ, fixed before the runs.
        p: p-value after correction for several questions; None: the 95 % confidence interval decides.

    Returns:
        `better` or `worse` if the 95 % confidence interval excludes 0 (or the corrected p-value is below .05); else
        `equivalent` if the 90 % interval lies within ±δ; else `undecided`.
    """
    if not difference.sufficient:
        return "too few runs"
    significant = difference.p < 0.05 if p is None else p < 0.05
    if significant and abs(difference.mean) >= PRINTED:
        return "better" if difference.mean > 0 else "worse"
    low, high = difference.interval(0.90)
    return "equivalent" if -margin < low and high < margin else "undecided"
