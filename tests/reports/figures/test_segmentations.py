"""The figure of segmented test cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stampbench.reports.figures.segmentations import chosen_cases, segmentations
from stampbench.reports.overlays import Example


def test_best_median_and_worst_cases_are_chosen_and_drawn() -> None:
    cases = pd.DataFrame({"run": "r", "case": list("abcab"), "class": list("xxxyy"), "dice": [0.2, 0.9, 0.5, 0.4, 0.7]})
    chosen = chosen_cases(cases)
    assert chosen == {"best": ("b", pytest.approx(0.8)), "median": ("c", 0.5), "worst": ("a", pytest.approx(0.3))}
    labels = np.eye(8, dtype=np.uint8)
    example = Example("b", labels.astype(np.float32), labels, labels, 1.0)
    shown = [(rank, dice, example) for rank, (_, dice) in chosen.items()]
    figure = segmentations({"stamp": shown, "standard": shown}, ["background", "organ"])
    assert len(figure.axes) == 6
    assert "worst" in figure.axes[2].get_title()


def test_cases_are_those_of_all_strategies_together() -> None:
    """Case b is the best of one strategy and the worst of the other: a strategy's own ranks are not taken."""
    dice = {"one": {"a": 0.6, "b": 0.9, "c": 0.5}, "other": {"a": 0.7, "b": 0.1, "c": 0.4}}
    rows = [{"run": run, "case": case, "dice": each} for run, own in dice.items() for case, each in own.items()]
    chosen = chosen_cases(pd.DataFrame(rows))
    assert {rank: case for rank, (case, _) in chosen.items()} == {"best": "a", "median": "b", "worst": "c"}
