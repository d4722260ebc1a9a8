"""The figure of ranks in resamples."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stampbench.reports.overall import rank_shares


def test_stability_counts_the_ranks_of_resamples() -> None:
    """A strategy that is always better is always first; equal ones share ranks."""
    index = pd.MultiIndex.from_tuples([(0, 0, seed) for seed in range(5)], names=["training_set", "fold", "seed"])
    low = pd.DataFrame(np.random.default_rng(0).uniform(0.2, 0.4, (5, 4)), index)
    assert rank_shares([low, low + 0.5, low]).tolist() == [[0, 0.5, 0.5], [1, 0, 0], [0, 0.5, 0.5]]
