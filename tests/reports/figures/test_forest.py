"""The figure of differences between a strategy and others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stampbench.reports.comparison import compare
from stampbench.reports.figures.forest import forest
from stampbench.reports.figures.style import NothingToDrawError

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def test_forest_shows_mean_interval_decision_and_margin_of_every_comparison(frames: Frames) -> None:
    rng = np.random.default_rng(0)
    runs = []
    for seed in range(6):
        dice = rng.uniform(0.6, 0.8, 12)
        for name, gain in (("a", 0.1), ("b", 0.0), ("c", 0.0995)):
            scores = dice + gain + rng.normal(0, 0.001, 12)
            runs.append({"strategy": name, "seed": seed, "dice": {f"s{n}": each for n, each in enumerate(scores)}})
    table, cases = frames(*runs)
    of = {name: table[table["strategy"] == name] for name in "abc"}
    comparisons = [*compare(of["a"], of["b"], cases), *compare(of["a"], of["c"], cases)]
    (axes,) = forest(comparisons).axes
    assert [text.get_text() for text in axes.texts] == ["better", "equivalent"]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 2]
    for line, each in zip(lines, comparisons, strict=True):
        assert tuple(line.get_xdata()) == each.difference.interval()
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-0.01, 0.01))
    assert axes.yaxis_inverted()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "c"]
    assert axes.get_xlabel() == "difference in test Dice, a minus the row's strategy\nd, 25 images, quick"
    (alone,) = forest(comparisons[:1]).axes
    assert alone.get_xlabel() == "difference in test Dice, a minus b"
    assert [text.get_text() for text in alone.get_yticklabels()] == ["d, 25 images, quick"]
    with pytest.raises(NothingToDrawError):
        forest([])


@pytest.mark.parametrize(
    ("gaps", "text"),
    [
        ((0.3, 0.2), "+0.200, +0.300"),
        ((0.2, 0.4, 0.3), "3 pairs, to +0.400"),
        ((-0.2, -0.4, -0.3), "3 pairs, to -0.400"),
    ],
)
def test_forest_marks_pairs_beyond_the_axis_with_their_values(
    gaps: tuple[float, ...], text: str, frames: Frames
) -> None:
    """Few pairs of forty are far away; the others decide the length of the axis."""
    rng, runs = np.random.default_rng(0), []
    for seed in range(40):
        dice = rng.uniform(0.6, 0.8, 12)
        far = gaps[seed] if seed < len(gaps) else 0.0
        runs.append({"strategy": "a", "seed": seed, "dice": {f"s{n}": each for n, each in enumerate(dice)}})
        runs.append({"strategy": "b", "seed": seed, "dice": {f"s{n}": each - far for n, each in enumerate(dice)}})
    table, cases = frames(*runs)
    of = {name: table[table["strategy"] == name] for name in "ab"}
    (axes,) = forest(compare(of["a"], of["b"], cases)).axes
    low, high = axes.get_xlim()
    assert -low == high < 0.2
    (arrow,) = [line for line in axes.lines if line.get_marker() in ("<", ">")]
    assert arrow.get_xdata() == [high if gaps[0] > 0 else low]
    (values,) = [each for each in axes.texts if each.get_text() == text]
    axes.figure.draw_without_rendering()
    _, dots = axes.transData.transform((0, arrow.get_ydata()[0]))
    assert values.get_window_extent().y1 < dots, "values are below the dots, which may be near the end of the axis"
