"""Box plots of scores, which look alike in all figures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import MatplotlibDeprecationWarning
from matplotlib.axes import Axes

from stampbench.reports.looks import Look


def draw_boxes(axes: Axes, scores: pd.DataFrame, looks: Mapping[str, Look], **columns: Any) -> None:
    """Draw a box per strategy; the diamond is the mean.

    Args:
        axes: where they are drawn.
        scores: a row per score, with `strategy`.
        looks: looks of the strategies, in their order.
        **columns: `x`, `y` and other arguments of seaborn.
    """
    with warnings.catch_warnings():
        # seaborn 0.13 passes `vert` to matplotlib, which has deprecated it since 3.11.
        warnings.filterwarnings("ignore", "vert: bool was deprecated", MatplotlibDeprecationWarning)
        sns.boxplot(
            scores, hue="strategy", hue_order=list(looks), ax=axes, showmeans=True,
            palette={name: look.colour for name, look in looks.items()}, linewidth=0.8, fliersize=2, saturation=1,
            meanprops={"marker": "D", "markersize": 3, "markerfacecolor": "white", "markeredgecolor": "black"},
            **columns,
        )  # fmt: skip
