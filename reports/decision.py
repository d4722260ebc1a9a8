"""Decisions about a difference: better, worse, equivalent, or undecided."""

from __future__ import annotations

from typing import Literal

from stampbench.reports.multi_reader import Estimate

MARGIN = 0.01
"""Margin of equivalence in Dice, unless a dataset's definition sets another one."""
Decision = Literal["better", "worse", "equivalent", "undecided", "too few runs"]

MOST_READERS = 1000
"""Larger numbers of runs that would decide are not looked for."""
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


def readers_to_decide(difference: Estimate, margin: float = MARGIN, questions: int = 1) -> int | None:
    """Return how many runs (or training sets) in all would decide, if mean and variance stayed as they are.

    Args:
        difference: strategy minus reference.
        margin: margin of equivalence δ.
        questions: number of questions for which p is corrected, as by Bonferroni.

    Returns:
        The smallest number at which `decide` is not `undecided`; None: there are too few runs to say, or more than
        `MOST_READERS` would be needed, for example because the subjects are too few.
    """
    if not difference.sufficient:
        return None
    for readers in range(difference.readers, MOST_READERS + 1):
        found = difference.with_readers(readers)
        if decide(found, margin, min(1.0, questions * found.p)) != "undecided":
            return readers
    return None
