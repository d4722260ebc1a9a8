"""Boundary quality of a strategy's test masks, without averaging the penalty of empty masks into distances."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd


def boundary_scores(cases: pd.DataFrame) -> dict[str, float]:
    """Return boundary scores over masks, one mask per run, case and class.

    Args:
        cases: rows of `cases` as for `leaderboards`, of one strategy. `nsd` and `average_hausdorff_set` may be missing
            or partly NaN.

    Returns:
        `nsd`, the mean normalised surface Dice (0 to 1; NaN if it was not recorded for every mask); `empty_rate`, the
        share of masks where exactly one of prediction and reference is empty; `hd95_median` and `hd95_p90`, quantiles
        of HD95 with empty masks ranked worst (infinite where an empty mask is the quantile); `hd95_nonempty`, the mean
        HD95 of the other masks; `average_hausdorff`, the mean of PocketNet's average Hausdorff distance (NaN if it
        was not recorded for every mask).
    """
    empty = cases["empty"].isin(["reference", "prediction"]).to_numpy()
    distances = np.where(empty, math.inf, cases["hd95"].to_numpy(dtype=float))
    median, p90 = np.quantile(distances, [0.5, 0.9], method="inverted_cdf")
    return {
        "nsd": _mean(cases, "nsd"),
        "empty_rate": float(empty.mean()),
        "hd95_median": float(median),
        "hd95_p90": float(p90),
        "hd95_nonempty": float(distances[~empty].mean()) if not empty.all() else math.nan,
        "average_hausdorff": _mean(cases, "average_hausdorff_set"),
    }


def _mean(cases: pd.DataFrame, name: str) -> float:
    return float(cases[name].mean(skipna=False)) if name in cases else math.nan
