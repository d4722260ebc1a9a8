"""Panels and labels of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from stampbench.reports.figures.style import NothingToDrawError, parameter_axis, save, without_setting

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


@pytest.mark.parametrize(
    ("smallest", "largest", "labels"),
    [
        (28_000, 400_000, ["30 k", "100 k", "300 k"]),
        (9_000, 130_000, ["10 k", "30 k", "100 k"]),
        (900, 2_000_000, ["1 k", "3 k", "10 k", "30 k", "100 k", "300 k", "1 M"]),
    ],
)
def test_labels_of_parameters_do_not_overlap(smallest: int, largest: int, labels: list[str]) -> None:
    figure = Figure(figsize=(3.6, 2.4))
    axes = figure.subplots()
    parameter_axis(axes)
    axes.set_xlim(smallest, largest)
    figure.draw_without_rendering()
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if smallest <= tick.get_loc() <= largest]
    assert [tick.label1.get_text() for tick in ticks] == labels
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert not any(text.get_text() for text in axes.xaxis.get_ticklabels(minor=True))


@pytest.mark.parametrize(
    ("name", "written"),
    [("a", ["a.png", "a.svg"]), ("v1.2", ["v1.2.png", "v1.2.svg"]), ("a.SVG", ["a.SVG"]), ("a.b.png", ["a.b.png"])],
)
def test_endings_follow_the_name_and_replace_no_part_of_it(name: str, written: list[str], tmp_path: Path) -> None:
    assert sorted(path.name for path in save(Figure(), tmp_path / name)) == written
    assert sorted(path.name for path in tmp_path.iterdir()) == written
