"""Panels and labels of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from stampbench.reports.figures.style import NothingToDrawError, without_setting

Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


def test_figure_with_too_many_panels_is_refused(draw: Draw, records: Records) -> None:
    runs = pd.concat([records["runs"].assign(group=f"g{n}", n_train=n) for n in range(9)])
    with pytest.raises(NothingToDrawError, match="need 9 panels, but a figure holds at most 6") as refused:
        draw("latency_by_backend", records | {"runs": runs})
    assert refused.value.setting == "dataset"


def test_panels_that_do_not_fit_side_by_side_continue_below(draw: Draw, records: Records) -> None:
    runs = pd.concat([records["runs"].assign(group=f"g{n}", n_train=n) for n in range(5)])
    drawn = draw("pareto", records | {"runs": runs})
    drawn.draw_without_rendering()  # computes the positions of the axes
    shown = [axes for axes in drawn.axes if axes.axison]
    columns = Counter(round(axes.get_position().x0, 1) for axes in shown)
    assert sorted(columns.values()) == [2, 4, 4]  # three panels, then two below them; each has two axes
    assert sum("training images" in axes.get_title() for axes in shown) == 5


@pytest.mark.parametrize(
    ("label", "expected"),
    [("a", "a"), ("a (x=1)", "a"), ("a (x=1, y=2)", "a (y=2)"), ("a (xx=1)", "a (xx=1)"), ("a (y=2, x=1)", "a (y=2)")],
)
def test_one_setting_is_removed_from_a_label(label: str, expected: str) -> None:
    assert without_setting(label, "x") == expected
