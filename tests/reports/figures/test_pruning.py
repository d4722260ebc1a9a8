"""Figures of networks along pruning."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stampbench.reports.figures import FIGURES
from stampbench.reports.figures.style import NothingToDrawError

Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


def test_filters_along_pruning_are_fractions_of_the_initial_filters(draw: Draw, records: Records) -> None:
    one = records | {"runs": records["runs"].iloc[[1]]}
    mesh = draw("filters_along_pruning", one).axes[0].collections[0].get_array()
    assert np.asarray(mesh).reshape(3, 3).tolist() == [[1, 0.5, 0.25], [1, 0.25, 0.125], [1, 0.5, 0.25]]


def test_dice_along_pruning_has_the_median_and_the_standard_line(draw: Draw, records: Records) -> None:
    axes = draw("dice_along_pruning", records).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["standard"].get_ydata()[0] == 0.85
    x, y = lines["stamp_plus"].get_data()
    assert (x[0], y[0], x[-1], y[-1]) == pytest.approx((900, 0.5, 9, 0.2))


@pytest.mark.parametrize("name", ["dice_along_pruning", "retrained_against_pruned"])
def test_test_dice_is_drawn_where_runs_have_it(name: str, records: Records) -> None:
    module, _, function = FIGURES[name].function.partition(":")
    figure = getattr(import_module(module), function)
    with pytest.raises(NothingToDrawError, match="no run has a test Dice"):
        figure(**records, score="test")
    tested = records["trajectories"].assign(test_dice=records["trajectories"]["validation_dice"] / 2)
    (axes,) = figure(**{**records, "trajectories": tested}, score="test").axes
    assert axes.get_ylabel().startswith("test Dice")
    drawn = max(line.get_ydata().max() for line in axes.lines if len(line.get_xdata()) > 2 or name[0] == "r")
    assert drawn == pytest.approx(0.4)


def test_many_strategies_are_drawn_as_small_multiples_with_the_same_axes(draw: Draw, records: Records) -> None:
    runs, rows = records["runs"], records["trajectories"]
    new = [runs[runs["run"] == "r1"].assign(run=f"m{n}", strategy=f"stamp_plus (x={n})") for n in range(9)]
    trajectories = [rows[rows["run"] == "r1"].assign(run=f"m{n}") for n in range(9)]
    more = {"runs": pd.concat([runs, *new]), "trajectories": pd.concat([rows, *trajectories])}
    figure = draw("dice_along_pruning", records | more)
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 12
    assert len({axes.get_xlim() for axes in shown}) == len({axes.get_ylim() for axes in shown}) == 1
    assert all(axes.get_xlim()[0] > axes.get_xlim()[1] for axes in shown), "networks become smaller to the right"


def test_encoder_bottleneck_and_decoder_are_marked(draw: Draw, records: Records) -> None:
    shape = '{"depth": 1, "convs_per_level": 1}'
    axes = draw("filters_per_layer", records | {"runs": records["runs"].assign(hyperparameters=shape)}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["encoder", "bottleneck", "decoder"]
    assert [text.get_position()[0] for text in axes.texts] == [1, 2, 3]
    assert not draw("filters_per_layer", records).axes[0].texts, "other networks have other parts"
