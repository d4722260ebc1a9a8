"""The available figures: what each shows and which function draws it."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A figure.

    `summary` says what it shows, `source` names the figure of a paper that it resembles (empty if there is none), and
    `function` is the drawing function as `module:name`.
    """

    summary: str
    source: str
    function: str


_PACKAGE = "stampbench.reports.figures"
FIGURES: dict[str, Entry] = {
    "dice_by_training_size": Entry(
        "box plots of test Dice over cases, by number of training images",
        "Dinsdale et al. 2022, Fig. 4 and 6",
        f"{_PACKAGE}.scores:dice_by_training_size",
    ),
    "boxes": Entry(
        "box plots of test Dice over cases, a box per strategy",
        "Dinsdale et al. 2022, Fig. 4, 6 and 9",
        f"{_PACKAGE}.boxes:boxes",
    ),
    "stability": Entry(
        "how often each strategy takes each rank when runs and subjects are drawn again",
        "the blob plots of Wiesenfarth et al. 2021",
        f"{_PACKAGE}.stability:stability",
    ),
    "dice_along_pruning": Entry(
        "validation Dice against remaining parameters, with quartiles over runs",
        "Dinsdale et al. 2022, Fig. 5",
        f"{_PACKAGE}.pruning:dice_along_pruning",
    ),
    "filters_along_pruning": Entry(
        "heat map of the fraction of remaining filters, by layer and pruning step",
        "Dinsdale et al. 2022, Fig. 7",
        f"{_PACKAGE}.pruning:filters_along_pruning",
    ),
    "filters_per_layer": Entry(
        "filters per layer in the initial and in the selected network",
        "Dinsdale et al. 2022, Fig. 14",
        f"{_PACKAGE}.pruning:filters_per_layer",
    ),
    "retrained_against_pruned": Entry(
        "validation Dice of pruned networks and of the same architectures retrained",
        "Dinsdale et al. 2022, Fig. 15",
        f"{_PACKAGE}.retrained:retrained_against_pruned",
    ),
    "recovery_epochs": Entry(
        "test Dice by number of recovery epochs between two pruning steps",
        "Dinsdale et al. 2022, Fig. 16",
        f"{_PACKAGE}.scores:recovery_epochs",
    ),
    "base_dropout": Entry(
        "test Dice by the largest probability of targeted dropout",
        "Dinsdale et al. 2022, Fig. 17",
        f"{_PACKAGE}.scores:base_dropout",
    ),
    "dice_by_epochs": Entry(
        "test Dice against charged epochs and against those of the selected network",
        "",
        f"{_PACKAGE}.scores:dice_by_epochs",
    ),
    "pareto": Entry(
        "test Dice against parameters and latency, with the Pareto fronts",
        "",
        f"{_PACKAGE}.tradeoff:pareto",
    ),
    "latency_vs_parameters": Entry(
        "latency relative to the standard network against parameters",
        "",
        f"{_PACKAGE}.tradeoff:latency_vs_parameters",
    ),
    "latency_by_backend": Entry(
        "latency relative to the standard network, for every timed backend",
        "",
        f"{_PACKAGE}.tradeoff:latency_by_backend",
    ),
    "latency_along_pruning": Entry(
        "latency along pruning on every timed device, and the share of widths divisible by 8",
        "",
        f"{_PACKAGE}.trajectory_latency:latency_along_pruning",
    ),
}
"""Figures by name."""
