"""Figures by name: what each shows, and the function that draws it from records' tables."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A figure: what it shows, the papers' figure that it is like, and its function as `module:name`."""

    summary: str
    source: str
    function: str


_HERE = "stampbench.reports.figures"
FIGURES: dict[str, Entry] = {
    "dice_by_training_size": Entry(
        "test Dice of every strategy by number of training images, box plots over cases",
        "Dinsdale et al. 2022, Fig. 4 and 6",
        f"{_HERE}.scores:dice_by_training_size",
    ),
    "dice_along_pruning": Entry(
        "validation Dice against the parameters that remain, quartiles over runs, beside the standard network",
        "Dinsdale et al. 2022, Fig. 5",
        f"{_HERE}.pruning:dice_along_pruning",
    ),
    "filters_along_pruning": Entry(
        "the share of filters that remains in every layer, step by step, as a heat map",
        "Dinsdale et al. 2022, Fig. 7",
        f"{_HERE}.pruning:filters_along_pruning",
    ),
    "filters_per_layer": Entry(
        "filters per layer at the start and in the selected network, or at a size",
        "Dinsdale et al. 2022, Fig. 14",
        f"{_HERE}.pruning:filters_per_layer",
    ),
    "retrained_against_pruned": Entry(
        "validation Dice of pruned networks and of the same shapes trained from scratch",
        "Dinsdale et al. 2022, Fig. 15",
        f"{_HERE}.pruning:retrained_against_pruned",
    ),
    "recovery_epochs": Entry(
        "test Dice by epochs between two prunes",
        "Dinsdale et al. 2022, Fig. 16",
        f"{_HERE}.scores:recovery_epochs",
    ),
    "base_dropout": Entry(
        "test Dice by the largest probability of targeted dropout",
        "Dinsdale et al. 2022, Fig. 17",
        f"{_HERE}.scores:base_dropout",
    ),
    "dice_by_epochs": Entry(
        "test Dice against the epochs that were charged, and against those of the selected network",
        "",
        f"{_HERE}.scores:dice_by_epochs",
    ),
    "pareto": Entry(
        "test Dice against parameters and against latency, with the Pareto fronts",
        "",
        f"{_HERE}.tradeoff:pareto",
    ),
    "latency_by_backend": Entry(
        "latency over that of the standard network, for every backend that was timed",
        "",
        f"{_HERE}.tradeoff:latency_by_backend",
    ),
}
