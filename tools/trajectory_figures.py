"""Figures of strategies' trajectories: parameters and validation Dice by charged epoch.

Published runs are drawn where they have several checkpoints, else dry runs, which train nothing.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd

PROTOCOL = "cpu"
"""Protocol of the runs that are drawn."""


class Trajectory(NamedTuple):
    """A run in words, and its checkpoints with the columns `epoch`, `parameters` and, if trained, `validation_dice`."""

    caption: str
    checkpoints: pd.DataFrame


def trajectories(folder: Path) -> dict[str, Trajectory]:
    """Return a trajectory of each built-in strategy that makes more than one checkpoint.

    Args:
        folder: folder of the published tables.
    """
    from stampbench.strategies.registry import STRATEGIES

    published = _published(folder)
    built_in = [name for name, entry in STRATEGIES.items() if entry.origin is None and entry.load().trains]
    found = {name: published.get(name) or _dry(name) for name in built_in}
    return {name: each for name, each in found.items() if len(each.checkpoints) > 1}


def _published(folder: Path) -> dict[str, Trajectory]:
    """Return a run of each strategy with its defaults: the first of the leaderboard with most runs."""
    runs = pd.read_csv(folder / "runs.csv", dtype={"run": str}, low_memory=False)
    rows = pd.read_csv(folder / "trajectories.csv", dtype={"run": str}, low_memory=False)
    runs = runs[(runs["protocol"] == PROTOCOL) & runs["run"].isin(rows["run"])]
    found = {}
    for name, own in runs.groupby("strategy"):
        group = own["group"].value_counts().sort_index().idxmax()
        run = own[own["group"] == group].sort_values(["seed", "fold", "run"]).iloc[0]
        checkpoints = rows[rows["run"] == run["run"]].sort_values("step")
        caption = f"{name} on {run['dataset']}, {run['n_train']} images, fold {run['fold']}, seed {run['seed']}"
        if len(checkpoints) > 1:
            found[str(name)] = Trajectory(caption, checkpoints)
    return found


def _dry(name: str) -> Trajectory:
    """Return what a strategy would do at most, with the same protocol."""
    from stampbench.benchmark.api import RunOptions, plan
    from stampbench.benchmark.config.suite import Block
    from stampbench.models.model import parameter_count

    block = Block.model_validate(
        {"strategies": [name], "datasets": ["phantom2d"], "n_train": 25, "folds": [0], "protocol": PROTOCOL}
    )
    expected = plan(block, RunOptions())[-1].run.expected
    rows = [(each.epoch, parameter_count(each.architecture)) for each in expected.checkpoints]
    return Trajectory(f"{name}, a dry run on phantom2d", pd.DataFrame(rows, columns=["epoch", "parameters"]))


def draw(trajectory: Trajectory) -> str:
    """Return a figure of a trajectory as SVG: the same text for the same run."""
    points = trajectory.checkpoints
    trained = "validation_dice" in points
    with matplotlib.rc_context({"svg.hashsalt": "stampbench", "svg.fonttype": "path", "font.size": 9}):
        figure, axes = plt.subplots(
            1 + trained, 1, sharex=True, squeeze=False, figsize=(6, 1.2 + 1.2 * (1 + trained)), layout="constrained"
        )
        above, below = axes[0, 0], axes[-1, 0]
        style = {"marker": "o" if len(points) < 40 else None, "markersize": 3}
        above.plot(points["epoch"], points["parameters"], drawstyle="steps-post", color="tab:blue", **style)
        above.set(ylabel="parameters", yscale="log", title=trajectory.caption)
        if trained:
            below.plot(points["epoch"], points["validation_dice"], color="tab:orange", **style)
            best = points.loc[points["validation_dice"].idxmax()]
            below.plot(best["epoch"], best["validation_dice"], "k*", label="highest")
            below.set(ylabel="validation Dice")
            below.legend(frameon=False)
        below.set(xlabel="charged epochs" if trained else "charged epochs, at most")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()
