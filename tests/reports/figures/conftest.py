"""Records with little in them, and the functions that draw them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stampbench.reports.figures import FIGURES

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def make_trajectory(run: str, *rows: tuple[int, float, str]) -> pd.DataFrame:
    """Build the trajectory of a run from the parameters, validation Dice and widths of each checkpoint."""
    table = pd.DataFrame(rows, columns=["parameters", "validation_dice", "widths"])
    return table.assign(run=run, step=range(len(rows)), epoch=range(len(rows)))


@pytest.fixture
def trajectory() -> Callable[..., pd.DataFrame]:
    """Return the function that builds a trajectory."""
    return make_trajectory


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
            make_trajectory("r0", (900, 0.85, "4 8 4")),
            *(
                make_trajectory(run, (900, 0.5, "4 8 4"), (90, 0.8, "2 2 2"), (9, 0.2, "1 1 1"))
                for run in ("r1", "r2", "r3")
            ),
            make_trajectory("r4", (90, 0.6, "2 2 2")),
        ]
    )
    times = timings(("r0", "eager", 10.0), ("r1", "eager", 5.0), ("r0", "onnxruntime", 4.0), ("r1", "onnxruntime", 3.0))
    # Three checkpoints of r1, which are no selected networks: other figures must not read them.
    checkpoints = timings(*[("r1", "openvino", ratio) for ratio in (1.0, 0.8, 0.7)], measured="two")
    checkpoints = checkpoints.assign(step=range(3), parameters=[900, 90, 9])
    return {"runs": runs, "cases": cases, "trajectories": rows, "timings": pd.concat([times, checkpoints])}


@pytest.fixture
def repeated_records(records: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return records with five seeds of every run, which differ a little."""
    rng = np.random.default_rng(0)
    runs = [records["runs"].assign(run=records["runs"]["run"] + f"/{seed}", seed=seed) for seed in range(5)]
    cases = [records["cases"].assign(run=records["cases"]["run"] + f"/{seed}") for seed in range(5)]
    table = pd.concat(cases, ignore_index=True)
    noise = rng.normal(0, 0.1, len(table))
    return records | {"runs": pd.concat(runs, ignore_index=True), "cases": table.assign(dice=table["dice"] + noise)}


def draw_figure(name: str, records: dict[str, pd.DataFrame]) -> Figure:
    """Draw a figure by its name."""
    module, _, function = FIGURES[name].function.partition(":")
    drawn: Figure = getattr(import_module(module), function)(**records)
    return drawn


@pytest.fixture
def draw() -> Callable[..., Figure]:
    """Return the function that draws a figure by its name."""
    return draw_figure
