"""Figure of test Dice over cases: a box per strategy."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stampbench.reports.figures.box_plot import draw_boxes
from stampbench.reports.figures.scores import per_case
from stampbench.reports.figures.style import hatch, panels, wrapped
from stampbench.reports.looks import looks


def boxes(runs: pd.DataFrame, cases: pd.DataFrame, **_: pd.DataFrame) -> Figure:
    """Draw a box of test Dice over cases for each strategy (like Dinsdale et al. 2022, Fig. 4, 6 and 9).

    Boxes show the quartiles, whiskers extend to 1.5 times the interquartile range, and the diamond is the mean. Dice of
    a case is the mean over a strategy's runs, whose number stands beside the name.
    """
    height = 1.2 + 0.3 * int(runs.groupby("group")["strategy"].nunique().max()) if len(runs) else 3.6
    figure, columns = panels(runs, width=6.4, height=height)
    styles = looks(runs["strategy"])
    for (axes,), group in columns:
        counts = group.groupby("strategy").size()
        order = [name for name in styles if name in counts]
        looks_of = {name: styles[name] for name in order}
        draw_boxes(axes, per_case(group, cases), looks_of, x="dice", y="strategy", order=order, legend=False)
        for name, container in zip(order, axes.containers, strict=True):
            for box in container.boxes:  # type: ignore[attr-defined]
                hatch(box, styles[name])
        axes.set_yticks(range(len(order)), [wrapped(f"{name}, n\u00a0=\u00a0{counts[name]}") for name in order])
        axes.set(xlabel="test Dice (per case, mean over runs)", ylabel="")
    return figure
