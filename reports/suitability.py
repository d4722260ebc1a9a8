"""How well a leaderboard can separate strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

_ROUNDING = 1e-9


def suitability(scores: Mapping[str, pd.DataFrame]) -> float:
    """Return the standard deviation between strategies over that within a strategy (Isensee et al. 2024).

    Between: of the mean Dice of strategies. Within: of the mean Dice of a strategy's runs, pooled over strategies.
    Below 1, training a strategy again changes its Dice more than another strategy does.

    Args:
        scores: table of `dice_by_run` for each strategy; strategies with a single run do not count.

    Returns:
        The ratio; NaN if fewer than two strategies have several runs, or if these are all the same.
    """
    runs = [table.mean(axis=1) for table in scores.values() if len(table) > 1]
    if len(runs) < 2:
        return math.nan
    between = float(np.std([each.mean() for each in runs], ddof=1))
    within = math.sqrt(float(np.mean([each.var() for each in runs])))
    return between / within if within > _ROUNDING else math.nan
