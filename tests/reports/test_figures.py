"""Figures drawn from small data frames, and the errors when there is nothing to draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from stampbench.reports.figures import FIGURES
from stampbench.reports.figures.losses import losses
from stampbench.reports.figures.segmentations import chosen_cases, segmentations
from stampbench.reports.figures.style import NothingToDrawError, save, without_setting
from stampbench.reports.looks import FAMILIES, looks
from stampbench.reports.overall import rank_shares
from stampbench.reports.overlays import best_plane, thumbnails

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def trajectory(run: str, *rows: tuple[int, float, str]) -> pd.DataFrame:
    """Build the trajectory of a run from the parameters, validation Dice and widths of each checkpoint."""
    table = pd.DataFrame(rows, columns=["parameters", "validation_dice", "widths"])
    return table.assign(run=run, step=range(len(rows)), epoch=range(len(rows)))


@pytest.fixture
def records(frames: Frames, timings: Callable[..., pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return runs of the standard network, of stamp_plus with two values of R and of b, and of a retrained network."""
    targeted = '{{"recovery_epochs": {}, "base_dropout": {}, "dropout": "targeted"}}'
    runs, cases = frames(
        {"strategy": "standard", "dice": {"a": 0.8, "b": 0.9}, "parameters": 900, "validation_dice": 0.85},
        {"strategy": "stamp_plus", "dice": {"a": 0.7, "b": 0.9}, "parameters": 90, "selected_step": 1,
         "hyperparameters": targeted.format(5, 0.1)},
        {"strategy": "stamp_plus (recovery_epochs=2)", "name": "stamp_plus", "dice": {"a": 0.6, "b": 0.7},
         "hyperparameters": targeted.format(2, 0.1)},
        {"strategy": "stamp_plus (base_dropout=0.4)", "name": "stamp_plus", "dice": {"a": 0.3, "b": 0.4},
         "hyperparameters": targeted.format(5, 0.4)},
        {"strategy": "retrain_scratch", "dice": {"a": 0.5, "b": 0.5}, "parents": "r1"},
    )  # fmt: skip
    rows = pd.concat(
        [
            trajectory("r0", (900, 0.85, "4 8 4")),
            *(
                trajectory(run, (900, 0.5, "4 8 4"), (90, 0.8, "2 2 2"), (9, 0.2, "1 1 1"))
                for run in ("r1", "r2", "r3")
            ),
            trajectory("r4", (90, 0.6, "2 2 2")),
        ]
    )
    times = timings(("r0", "eager", 10.0), ("r1", "eager", 5.0), ("r0", "onnxruntime", 4.0), ("r1", "onnxruntime", 3.0))
    # Three checkpoints of r1, which are no selected networks: other figures must not read them.
    checkpoints = timings(*[("r1", "openvino", ratio) for ratio in (1.0, 0.8, 0.7)], measured="two")
    checkpoints = checkpoints.assign(step=range(3), parameters=[900, 90, 9])
    return {"runs": runs, "cases": cases, "trajectories": rows, "timings": pd.concat([times, checkpoints])}


def repeated(records: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return records with five seeds of every run, which differ a little."""
    rng = np.random.default_rng(0)
    runs = [records["runs"].assign(run=records["runs"]["run"] + f"/{seed}", seed=seed) for seed in range(5)]
    cases = [records["cases"].assign(run=records["cases"]["run"] + f"/{seed}") for seed in range(5)]
    table = pd.concat(cases, ignore_index=True)
    noise = rng.normal(0, 0.1, len(table))
    return records | {"runs": pd.concat(runs, ignore_index=True), "cases": table.assign(dice=table["dice"] + noise)}


def draw(name: str, records: dict[str, pd.DataFrame]) -> Figure:
    """Draw a figure by its name."""
    module, _, function = FIGURES[name].function.partition(":")
    drawn: Figure = getattr(import_module(module), function)(**records)
    return drawn


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_as_svg_and_png(name: str, records: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    written = save(draw(name, repeated(records) if name == "stability" else records), tmp_path / name)
    assert [path.suffix for path in written] == [".svg", ".png"]
    pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert (pixels < 200).mean() > 0.005, "the figure is almost empty"
    assert b"</svg>" in (tmp_path / f"{name}.svg").read_bytes()[-200:]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_without_records_is_refused(name: str, records: dict[str, pd.DataFrame]) -> None:
    nothing = {key: table.iloc[:0] for key, table in records.items()}
    with pytest.raises(NothingToDrawError):
        draw(name, nothing)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_of_one_run_with_one_case_is_drawn_or_refused(name: str, frames: Frames) -> None:
    runs, cases = frames({"strategy": "standard", "dice": {"a": 0.8}})
    one = {"runs": runs, "cases": cases, "trajectories": trajectory("r0", (900, 0.85, "4 8 4"))}
    try:
        drawn = draw(name, one | {"timings": pd.DataFrame()})
    except NothingToDrawError:
        assert name not in ("dice_by_training_size", "dice_by_epochs", "pareto")
    else:
        assert drawn.axes[0].has_data()


def test_pareto_names_the_backend_when_standard_has_a_variant_label(
    records: dict[str, pd.DataFrame],
) -> None:
    runs = (
        records["runs"]
        .replace({"strategy": {"standard": "standard (f=2, depth=1)"}})
        .assign(name=lambda each: each["name"].where(~each["strategy"].str.startswith("standard"), "standard"))
    )
    assert draw("pareto", records | {"runs": runs}).axes[1].get_xlabel() == "latency relative to standard (onnxruntime)"


def test_figure_with_too_many_panels_is_refused(records: dict[str, pd.DataFrame]) -> None:
    runs = pd.concat([records["runs"].assign(group=f"g{n}", n_train=n) for n in range(9)])
    with pytest.raises(NothingToDrawError, match="need 9 panels, but a figure holds at most 6") as refused:
        draw("latency_by_backend", records | {"runs": runs})
    assert refused.value.setting == "dataset"


def test_panels_that_do_not_fit_side_by_side_continue_below(records: dict[str, pd.DataFrame]) -> None:
    runs = pd.concat([records["runs"].assign(group=f"g{n}", n_train=n) for n in range(5)])
    drawn = draw("pareto", records | {"runs": runs})
    drawn.draw_without_rendering()  # computes the positions of the axes
    shown = [axes for axes in drawn.axes if axes.axison]
    columns = Counter(round(axes.get_position().x0, 1) for axes in shown)
    assert sorted(columns.values()) == [2, 4, 4]  # three panels, then two below them; each has two axes
    assert sum("training images" in axes.get_title() for axes in shown) == 5


def test_recovery_epochs_shows_the_mean_over_cases(records: dict[str, pd.DataFrame]) -> None:
    """R = 2 gives (.6 + .7)/2 and R = 5 gives (.7 + .9)/2; the run with another b does not belong to this line."""
    axes = draw("recovery_epochs", records).axes[0]
    (line,) = (each for each in axes.containers if isinstance(each, ErrorbarContainer))
    assert list(line[0].get_ydata()) == pytest.approx([0.65, 0.8])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "5"]


def test_retrained_networks_are_paired_by_width_with_pruned_ones(
    records: dict[str, pd.DataFrame],
) -> None:
    pruned, retrained = (line.get_xydata().tolist() for line in draw("retrained_against_pruned", records).axes[0].lines)
    assert (pruned, retrained) == ([[90, 0.8]], [[90, 0.6]])


def test_filters_along_pruning_are_fractions_of_the_initial_filters(records: dict[str, pd.DataFrame]) -> None:
    one = records | {"runs": records["runs"].iloc[[1]]}
    mesh = draw("filters_along_pruning", one).axes[0].collections[0].get_array()
    assert np.asarray(mesh).reshape(3, 3).tolist() == [[1, 0.5, 0.25], [1, 0.25, 0.125], [1, 0.5, 0.25]]


def test_dice_along_pruning_has_the_median_and_the_standard_line(
    records: dict[str, pd.DataFrame],
) -> None:
    axes = draw("dice_along_pruning", records).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["standard"].get_ydata()[0] == 0.85
    x, y = lines["stamp_plus"].get_data()
    assert (x[0], y[0], x[-1], y[-1]) == pytest.approx((900, 0.5, 9, 0.2))


@pytest.mark.parametrize("name", ["dice_along_pruning", "retrained_against_pruned"])
def test_test_dice_is_drawn_where_runs_have_it(name: str, records: dict[str, pd.DataFrame]) -> None:
    module, _, function = FIGURES[name].function.partition(":")
    figure = getattr(import_module(module), function)
    with pytest.raises(NothingToDrawError, match="no run has a test Dice"):
        figure(**records, score="test")
    tested = records["trajectories"].assign(test_dice=records["trajectories"]["validation_dice"] / 2)
    (axes,) = figure(**{**records, "trajectories": tested}, score="test").axes
    assert axes.get_ylabel().startswith("test Dice")
    drawn = max(line.get_ydata().max() for line in axes.lines if len(line.get_xdata()) > 2 or name[0] == "r")
    assert drawn == pytest.approx(0.4)


def test_pruned_and_retrained_networks_of_a_fold_share_a_marker(records: dict[str, pd.DataFrame]) -> None:
    runs = records["runs"]
    again = runs[runs["run"].isin(["r1", "r4"])].replace({"run": {"r1": "q1", "r4": "q4"}, "parents": {"r1": "q1"}})
    rows = records["trajectories"]
    copies = rows[rows["run"].isin(["r1", "r4"])].replace({"run": {"r1": "q1", "r4": "q4"}})
    both = {"runs": pd.concat([runs, again.assign(fold=1)]), "trajectories": pd.concat([rows, copies])}
    lines = draw("retrained_against_pruned", records | both).axes[0].lines
    assert [line.get_marker() for line in lines] == ["o", "o", "s", "s"]


def test_many_strategies_are_drawn_as_small_multiples_with_the_same_axes(records: dict[str, pd.DataFrame]) -> None:
    runs, rows = records["runs"], records["trajectories"]
    new = [runs[runs["run"] == "r1"].assign(run=f"m{n}", strategy=f"stamp_plus (x={n})") for n in range(9)]
    trajectories = [rows[rows["run"] == "r1"].assign(run=f"m{n}") for n in range(9)]
    more = {"runs": pd.concat([runs, *new]), "trajectories": pd.concat([rows, *trajectories])}
    figure = draw("dice_along_pruning", records | more)
    shown = [axes for axes in figure.axes if axes.axison]
    assert len(shown) == 12
    assert len({axes.get_xlim() for axes in shown}) == len({axes.get_ylim() for axes in shown}) == 1
    assert all(axes.get_xlim()[0] > axes.get_xlim()[1] for axes in shown), "networks become smaller to the right"


def test_encoder_bottleneck_and_decoder_are_marked(records: dict[str, pd.DataFrame]) -> None:
    shape = '{"depth": 1, "convs_per_level": 1}'
    axes = draw("filters_per_layer", records | {"runs": records["runs"].assign(hyperparameters=shape)}).axes[0]
    assert [text.get_text() for text in axes.texts] == ["encoder", "bottleneck", "decoder"]
    assert [text.get_position()[0] for text in axes.texts] == [1, 2, 3]
    assert not draw("filters_per_layer", records).axes[0].texts, "other networks have other parts"


def test_points_of_a_hyperparameter_are_dodged_and_say_how_many_runs_they_have(
    records: dict[str, pd.DataFrame],
) -> None:
    runs = records["runs"]
    others = runs[runs["name"] == "stamp_plus"].assign(run=lambda each: each["run"] + "b")
    others["strategy"] = others["strategy"].str.replace("stamp_plus", "stamp_d")
    cases = records["cases"].assign(run=records["cases"]["run"] + "b")
    both = {"runs": pd.concat([runs, others]), "cases": pd.concat([records["cases"], cases])}
    axes = draw("recovery_epochs", records | both).axes[0]
    first, second = (each[0].get_xdata() for each in axes.containers if isinstance(each, ErrorbarContainer))
    assert (np.abs(first - second) > 0.1).all()
    assert [text.get_text() for text in axes.texts] == ["n = 1"] * 4


@pytest.mark.parametrize("name", ["latency_by_backend", "latency_vs_parameters", "pareto"])
def test_intervals_of_latency_are_drawn(name: str, records: dict[str, pd.DataFrame]) -> None:
    times = records["timings"]
    with_intervals = times.assign(ratio_low=times["ratio"] - 1, ratio_high=times["ratio"] + 1)
    axes = draw(name, records | {"timings": with_intervals}).axes[-1]
    bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
    along = 0 if name != "latency_vs_parameters" else 1
    lengths = [
        np.ptp(segment[:, along])
        for each in bars
        for lines in each[2]
        for segment in lines.get_segments()
        if np.ptp(segment[:, along]) > 0
    ]
    ends = {"latency_by_backend": 4}.get(name, 2)
    assert len(lengths) == ends, "two strategies, and two backends"
    assert max(lengths) == pytest.approx(2 / 4), "3 ± 1 over 4, the time of the standard network"


def test_backends_have_no_colour_of_a_strategy(records: dict[str, pd.DataFrame]) -> None:
    axes = draw("latency_by_backend", records).axes[0]
    colours = {to_hex(bar.get_facecolor()).upper() for bar in axes.patches}
    assert colours & {family.colour for family in FAMILIES} == set()


def test_stability_counts_the_ranks_of_resamples() -> None:
    """A strategy that is always better is always first; equal ones share ranks."""
    index = pd.MultiIndex.from_tuples([(0, 0, seed) for seed in range(5)], names=["training_set", "fold", "seed"])
    low = pd.DataFrame(np.random.default_rng(0).uniform(0.2, 0.4, (5, 4)), index)
    assert rank_shares([low, low + 0.5, low]).tolist() == [[0, 0.5, 0.5], [1, 0, 0], [0, 0.5, 0.5]]


def test_losses_are_drawn_by_epoch_with_those_validation_losses_that_exist(frames: Frames) -> None:
    runs, _ = frames({"strategy": "stamp", "dice": {"a": 0.8}})
    epochs = pd.DataFrame(
        {"run": "r0", "epoch": [1, 2, 3], "training_loss": [0.9, 0.5, 0.4], "validation_loss": [0.8, np.nan, 0.6]}
    )
    training, validation = losses(runs, epochs).axes
    assert training.lines[0].get_ydata().tolist() == [0.9, 0.5, 0.4]
    assert (validation.lines[0].get_xdata().tolist(), validation.lines[0].get_ydata().tolist()) == ([1, 3], [0.8, 0.6])
    with pytest.raises(NothingToDrawError, match=r"epochs\.csv"):
        losses(runs, epochs.iloc[:0])


def test_protocols_that_differ_only_in_the_epoch_cap_share_a_panel(frames: Frames) -> None:
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


def test_variants_of_a_strategy_are_hatched_boxes(frames: Frames) -> None:
    labels = ("stamp_plus", "stamp_plus (recovery_epochs=2)", "standard")
    runs, cases = frames(*({"strategy": label, "dice": {"a": 0.8, "b": 0.9}} for label in labels))
    axes = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[0]
    hatches = {label: box.boxes[0].get_hatch() for label, box in zip(looks(labels), axes.containers, strict=True)}
    assert hatches == {label: looks(labels)[label].hatch or None for label in labels}
    assert hatches["stamp_plus"] is None
    assert hatches["stamp_plus (recovery_epochs=2)"]


def test_boxes_of_a_panel_that_lacks_a_strategy_have_their_own_hatch(frames: Frames) -> None:
    labels = ("standard", "stamp_plus", "stamp_plus (recovery_epochs=2)")
    rows = [{"strategy": label, "dice": {"a": 0.8, "b": 0.9}} for label in labels]
    others = [{**row, "dataset": "other", "group": "h"} for row in rows if row["strategy"] != "stamp_plus"]
    runs, cases = frames(*rows, *others)
    panel = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[1]
    assert [each.boxes[0].get_hatch() for each in panel.containers] == [None, looks(labels)[labels[2]].hatch]


def test_no_case_lies_outside_the_axis(frames: Frames) -> None:
    dice = {f"c{number}": 0.9 for number in range(200)} | {"bad": 0.55}
    runs, cases = frames({"strategy": "standard", "dice": dice})
    axes = draw("dice_by_training_size", {"runs": runs, "cases": cases, "trajectories": runs, "timings": runs}).axes[0]
    assert axes.get_ylim()[0] < 0.55


@pytest.mark.parametrize(
    ("label", "expected"),
    [("a", "a"), ("a (x=1)", "a"), ("a (x=1, y=2)", "a (y=2)"), ("a (xx=1)", "a (xx=1)"), ("a (y=2, x=1)", "a (y=2)")],
)
def test_one_setting_is_removed_from_a_label(label: str, expected: str) -> None:
    assert without_setting(label, "x") == expected


def volume() -> tuple[Any, Any, Any]:
    """Return image, reference and prediction of a volume whose third slice has the largest foreground."""
    image = np.arange(8 * 6 * 4, dtype=np.float32).reshape(8, 6, 4)
    reference, prediction = np.zeros((2, 8, 6, 4), np.uint8)
    reference[2:5, 1:4, 2] = 1
    reference[3, 2, 1] = 1
    prediction[2:6, 1:4, 2] = 1
    return image, reference, prediction


def test_best_plane_is_the_slice_with_the_largest_foreground() -> None:
    image, reference, prediction = volume()
    plane = best_plane("c", image, reference, prediction, (1.0, 2.0, 5.0))
    assert plane.reference.sum() == 9
    assert (plane.image == np.rot90(image[..., 2])).all()
    assert plane.aspect == 2.0
    without_reference = best_plane("c", image, np.zeros_like(reference), prediction, (1.0, 1.0, 1.0))
    assert without_reference.prediction.sum() == 12


def test_best_median_and_worst_cases_are_chosen_and_drawn(tmp_path: Path) -> None:
    cases = pd.DataFrame({"run": "r", "case": list("abcab"), "class": list("xxxyy"), "dice": [0.2, 0.9, 0.5, 0.4, 0.7]})
    chosen = chosen_cases(cases)
    assert chosen == {"best": ("b", pytest.approx(0.8)), "median": ("c", 0.5), "worst": ("a", pytest.approx(0.3))}
    example = best_plane("b", *volume(), (1.0, 1.0, 1.0))
    shown = [(rank, dice, example) for rank, (_, dice) in chosen.items()]
    figure = segmentations({"stamp": shown, "standard": shown}, ["background", "organ"])
    assert len(figure.axes) == 6
    assert "worst" in figure.axes[2].get_title()


def test_thumbnails_show_the_outline_of_the_prediction(tmp_path: Path) -> None:
    path = tmp_path / "t.webp"
    path.write_bytes(thumbnails([best_plane("b", *volume(), (1.0, 1.0, 1.0))] * 2, 64, 90))
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (64, 128, 3)
    orange = (picture[..., 0] > 180) & (picture[..., 2] < 90)
    assert orange.any(), "the prediction extends beyond the reference"
