"""Figure of pruned networks and the same architectures retrained."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from stampbench.reports.figures.pruning import Score, with_dice
from stampbench.reports.figures.style import NothingToDrawError, legend, panels, parameter_axis
from stampbench.reports.looks import GREYS, MARKERS, looks


def retrained_against_pruned(
    runs: pd.DataFrame, trajectories: pd.DataFrame, score: Score = "validation", **_: pd.DataFrame
) -> Figure:
    """Draw pruned networks and the same architectures retrained from scratch (like Dinsdale et al. 2022, Fig. 15).

    The figure shows Dice against parameters; a thin line joins the two networks of an architecture in one fold;
    folds differ in marker.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        trajectories: a row per checkpoint with `run`, `step`, `parameters`, `widths` and Dice.
        score: which Dice is drawn.
        **_: other tables of the records, which are not used.

    Raises:
        NothingToDrawError: when there is no retrained run with its parent run, or none has this score.
    """
    trajectories = with_dice(trajectories, score)
    retrained = runs[(runs["name"] == "retrain_scratch") & runs["parents"].isin(runs["run"])]
    if retrained.empty:
        raise NothingToDrawError("the records contain no run of retrain_scratch together with its parent run")
    figure, columns = panels(retrained)
    colour = looks(["retrain_scratch"])["retrain_scratch"].colour
    folds = sorted(retrained["fold"].unique())
    for (axes,), group in columns:
        for fold, own in group.groupby("fold"):
            marker = MARKERS[folds.index(fold) % len(MARKERS)]
            pairs = pd.concat([_pairs(*each, trajectories) for each in zip(own["run"], own["parents"], strict=True)])
            axes.vlines(
                pairs["parameters"], pairs["pruned"], pairs["retrained"], color="#BBBBBB", linewidth=0.7, zorder=1
            )
            axes.plot(pairs["parameters"], pairs["pruned"], marker, color=GREYS[0], fillstyle="none",
                      label=f"pruned, weights kept, fold {fold}")  # fmt: skip
            axes.plot(pairs["parameters"], pairs["retrained"], marker, color=colour, label=f"retrained, fold {fold}")
        parameter_axis(axes)
        axes.invert_xaxis()
        axes.set(xlabel="parameters", ylabel=f"{score} Dice")
    legend(figure, [axes for (axes,), _ in columns])
    return figure


def _pairs(run: str, parent: str, trajectories: pd.DataFrame) -> pd.DataFrame:
    """Pair the networks of a retraining run with the networks of its parent run that have the same widths."""
    retrained, pruned = (trajectories[trajectories["run"] == each] for each in (run, parent))
    both = retrained.merge(pruned, on="widths", suffixes=("_retrained", "_pruned"))
    return pd.DataFrame(
        {
            "parameters": both["parameters_pruned"],
            "pruned": both["dice_pruned"],
            "retrained": both["dice_retrained"],
        }
    )
