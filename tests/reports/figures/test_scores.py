"""Figures of Dice by training size, hyperparameter and epochs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib import MatplotlibDeprecationWarning
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from stampbench.reports.looks import looks

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


def test_recovery_epochs_shows_the_mean_over_cases(draw: Draw, records: Records) -> None:
    """R = 2 gives (.6 + .7)/2 and R = 5 gives (.7 + .9)/2; the run with another b does not belong to this line."""
    axes = draw("recovery_epochs", records).axes[0]
    (line,) = (each for each in axes.containers if isinstance(each, ErrorbarContainer))
    assert list(line[0].get_ydata()) == pytest.approx([0.65, 0.8])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "5"]


def test_points_of_a_hyperparameter_are_dodged_and_say_how_many_runs_they_have(draw: Draw, records: Records) -> None:
    runs = records["runs"]
    others = runs[runs["name"] == "stamp_plus"].assign(run=lambda each: each["run"] + "b")
    others["strategy"] = others["strategy"].str.replace("stamp_plus", "stamp_d")
    cases = records["cases"].assign(run=records["cases"]["run"] + "b")
    both = {"runs": pd.concat([runs, others]), "cases": pd.concat([records["cases"], cases])}
    axes = draw("recovery_epochs", records | both).axes[0]
    first, second = (each[0].get_xdata() for each in axes.containers if isinstance(each, ErrorbarContainer))
    assert (np.abs(first - second) > 0.1).all()
    assert [text.get_text() for text in axes.texts] == ["n = 1"] * 4


def test_protocols_that_differ_only_in_the_epoch_cap_share_a_panel(draw: Draw, frames: Frames) -> None:
    dice = {"a": 0.8, "b": 0.9}
    runs, cases = frames(
        {"strategy": "standard", "dice": dice, "protocol": "cpu"},
        {"strategy": "standard", "dice": dice, "protocol": "cpu (max_epochs=151)", "group": "h", "epochs": 20},
        {"strategy": "standard", "dice": dice, "protocol": "quick", "group": "i"},
        {"strategy": "standard", "dice": dice, "protocol": "quick (max_epochs=9)", "group": "j", "epochs": 20},
        {"strategy": "standard", "dice": dice, "protocol": "paper", "group": "k"},
    )
    frame = {"cases": cases, "trajectories": runs, "timings": runs}
    figure = draw("dice_by_epochs", {"runs": runs, **frame})
    assert len(figure.axes) == 4, "two axes for each of the two protocols with several caps"
    figure = draw("dice_by_epochs", {"runs": runs[runs["group"].isin(["g", "i", "k"])], **frame})
    assert len(figure.axes) == 6, "points without lines are drawn if there are no lines"


def test_variants_of_a_strategy_are_hatched_boxes(draw: Draw, frames: Frames) -> None:
    labels = ("stamp_plus", "stamp_plus (recovery_epochs=2)", "standard")
    runs, cases = frames(*({"strategy": label, "dice": {"a": 0.8, "b": 0.9}} for label in labels))
    axes = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[0]
    hatches = {label: box.boxes[0].get_hatch() for label, box in zip(looks(labels), axes.containers, strict=True)}
    assert hatches == {label: looks(labels)[label].hatch or None for label in labels}
    assert hatches["stamp_plus"] is None
    assert hatches["stamp_plus (recovery_epochs=2)"]


def test_boxes_of_a_panel_that_lacks_a_strategy_have_their_own_hatch(draw: Draw, frames: Frames) -> None:
    labels = ("standard", "stamp_plus", "stamp_plus (recovery_epochs=2)")
    rows = [{"strategy": label, "dice": {"a": 0.8, "b": 0.9}} for label in labels]
    others = [{**row, "dataset": "other", "group": "h"} for row in rows if row["strategy"] != "stamp_plus"]
    runs, cases = frames(*rows, *others)
    panel = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[1]
    assert [each.boxes[0].get_hatch() for each in panel.containers] == [None, looks(labels)[labels[2]].hatch]


def test_no_case_lies_outside_the_axis(draw: Draw, frames: Frames) -> None:
    dice = {f"c{number}": 0.9 for number in range(200)} | {"bad": 0.55}
    runs, cases = frames({"strategy": "standard", "dice": dice})
    axes = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[0]
    assert axes.get_ylim()[0] < 0.55


@pytest.mark.parametrize("name", ["boxes", "dice_by_training_size"])
def test_boxes_have_the_colours_of_the_page(name: str, draw: Draw, frames: Frames) -> None:
    labels = ("standard", "stamp", "flat")
    runs, cases = frames(*({"strategy": label, "dice": {"a": 0.8, "b": 0.9}} for label in labels))
    axes = draw(name, {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[0]
    shown = [to_hex(each.boxes[0].get_facecolor()).upper() for each in axes.containers]
    assert shown == [look.colour.upper() for look in looks(labels).values()]


@pytest.mark.parametrize("name", ["boxes", "dice_by_training_size"])
def test_boxes_cause_no_warning_of_matplotlib(name: str, draw: Draw, records: Records) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", MatplotlibDeprecationWarning)
        draw(name, records)
