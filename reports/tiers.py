"""Order of a leaderboard's rows where pairs of strategies share runs: tiers and Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from stampbench.reports.decision import PRINTED
from stampbench.reports.paired_runs import estimate
from stampbench.reports.statistics import holm

_ALPHA = 0.05

Pairs = Mapping[tuple[str, str], pd.DataFrame]
"""Differences of runs and subjects by the names of two strategies."""


def tiers(strategies: Sequence[str], pairs: Pairs, *, sets: bool) -> list[int]:
    """Return the tier of each strategy, from 1; a strategy opens a new tier if it is worse than one of the tier above.

    Worse: the Holm-corrected p-value over all pairs of strategies is below .05. Strategies with too few common runs are
    never separated.

    Args:
        strategies: strategies from the best to the worst estimate.
        pairs: differences of `all_pairs`.
        sets: whether training sets are the readers of the analysis.
    """
    positions = list(combinations(range(len(strategies)), 2))
    differences = [estimate(pairs[strategies[i], strategies[j]], sets=sets) for i, j in positions]
    corrected = holm([each.p for each in differences])
    worse = {
        ij for ij, each, p in zip(positions, differences, corrected, strict=True) if p < _ALPHA and each.mean >= PRINTED
    }
    result: list[int] = []
    first = 0
    for position in range(len(strategies)):
        if any((above, position) in worse for above in range(first, position)):
            first = position
        result.append(result[-1] + (first == position) if position else 1)
    return result


def pareto_front(costs: Mapping[str, pd.Series[float]], pairs: Pairs) -> dict[str, bool]:
    """Return which strategies are on the Pareto front of low cost and high Dice.

    A strategy is not on the front if another one, over the runs that both have, is at least as good in both and better
    in one. A strategy without cost is not on the front either, nor is one that shares no run with any other.

    Args:
        costs: by strategy, the cost of each run, indexed like the rows of its table of scores.
        pairs: differences of `all_pairs`.
    """
    dominated = {name: bool(cost.isna().any()) for name, cost in costs.items()}
    paired = dict.fromkeys(costs, len(costs) == 1)
    by_run = {name: dict(cost.items()) for name, cost in costs.items()}  # looked up faster than by pandas
    for one, other in combinations(costs, 2):
        difference = pairs[one, other]
        if difference.empty:
            continue
        paired[one] = paired[other] = True
        gain = round(float(difference.to_numpy().mean()), 9)
        saved = float(np.mean([by_run[other][run] - by_run[one][run] for run in difference.index]))
        if math.isnan(saved) or (gain, saved) == (0.0, 0.0):
            continue
        dominated[other] |= gain >= 0 and saved >= 0
        dominated[one] |= gain <= 0 and saved <= 0
    return {name: paired[name] and not dominated[name] for name in costs}
