"""Figures of segmented images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stampbench.reports.figures import style  # noqa: F401  sets fonts
from stampbench.reports.overlays import Example, colour, draw_image, draw_outlines

RANKS = ("best", "median", "worst")


def chosen_cases(cases: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Of one run's cases the best, median and worst by Dice over classes, with that Dice."""
    scores = cases.groupby("case")["dice"].mean().sort_values(ascending=False, kind="stable")
    places = {"best": 0, "median": len(scores) // 2, "worst": len(scores) - 1}
    return {rank: (str(scores.index[place]), float(scores.iloc[place])) for rank, place in places.items()}


def segmentations(
    examples: Mapping[str, Sequence[tuple[str, float, Example]]], classes: Sequence[str]
) -> Figure:  # fmt: skip
    """A row per strategy, a column for its best, median and worst test case (like Dinsdale et al. 2022, Fig. 4 and 8).

    The reference's outlines are dashed, the prediction's solid, a colour per class.

    Args:
        examples: by strategy, for each of `RANKS`: what it is, its Dice, the example.
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
            cell.set_title(f"{strategy}: {rank}\n{example.case}, Dice {dice:.3f}", fontsize=8)
    handles = [Line2D([], [], color=colour(value), label=name) for value, name in enumerate(classes) if value]
    handles += [
        Line2D([], [], color="#555555", label="prediction"),
        Line2D([], [], color="#555555", linestyle="--", label="reference"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    return figure
