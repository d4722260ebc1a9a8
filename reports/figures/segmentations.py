"""Figure of segmented test cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stampbench.reports.escape import plot
from stampbench.reports.figures import style  # noqa: F401  (imported because it sets matplotlib's fonts)
from stampbench.reports.overlays import Example, class_colour, draw_image, draw_outlines

RANKS = ("best", "median", "worst")
"""Ranks of the test cases that are shown, by Dice."""


def chosen_cases(cases: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Return the best, median and worst case by Dice, averaged over runs: the same cases for every strategy.

    Args:
        cases: a row per run, test case and class, with `case` and `dice`.

    Returns:
        For each of `RANKS` the id of the case and its Dice, averaged over classes and runs.
    """
    scores = cases.groupby("case")["dice"].mean().sort_values(ascending=False, kind="stable")
    positions = dict(zip(RANKS, (0, len(scores) // 2, len(scores) - 1), strict=True))
    return {rank: (str(scores.index[position]), float(scores.iloc[position])) for rank, position in positions.items()}


def segmentations(
    examples: Mapping[str, Sequence[tuple[str, float, Example]]], classes: Sequence[str]
) -> Figure:  # fmt: skip
    """Draw a row per strategy with the same test cases (like Dinsdale et al. 2022, Fig. 4 and 8).

    These are the best, median and worst case of all strategies together.
    Outlines of the reference are dashed and those of the prediction solid, with a colour per class.

    Args:
        examples: by strategy, a tuple for each of `RANKS`: the rank, the Dice and the example.
        classes: names by class index, the background first.
    """
    columns = max(map(len, examples.values()))
    figure = Figure(figsize=(2.7 * columns, 2.75 * len(examples) + 0.5), layout="constrained")
    axes = figure.subplots(len(examples), columns, squeeze=False)
    for row, (strategy, shown) in zip(axes, examples.items(), strict=True):
        for cell, (rank, dice, example) in zip(row, shown, strict=True):
            draw_image(cell, example.image, example.aspect)
            draw_outlines(cell, example.prediction, len(classes), "solid", 1.3)
            draw_outlines(cell, example.reference, len(classes), "dashed", 1.0)
            cell.set_title(f"{plot(strategy)}: {rank} of all\n{plot(example.case)}, Dice {dice:.3f}", fontsize=8)
    handles = [
        Line2D([], [], color=class_colour(value), label=plot(name)) for value, name in enumerate(classes) if value
    ]
    handles += [
        Line2D([], [], color="#555555", label="prediction"),
        Line2D([], [], color="#555555", linestyle="--", label="reference"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure
