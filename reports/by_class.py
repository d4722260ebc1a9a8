"""Scores by foreground class: a table with a row per strategy and class for each leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stampbench.reports.boundary import boundary_scores
from stampbench.reports.leaderboard import Board
from stampbench.reports.listing import Listing, plain_text

ALL = "all classes"
"""Name of the row of a strategy's mean over all classes."""


class ClassTable(NamedTuple):
    """Scores by class of the runs of one leaderboard.

    `title` and `about` are those of the leaderboard. `rows` has the columns `strategy`, `class`, `dice`, `sensitivity`,
    `precision`, those of `boundary_scores`, and `runs`.
    """

    title: str
    about: Mapping[str, Any]
    notes: tuple[str, ...]
    rows: pd.DataFrame


def class_tables(boards: Sequence[Board], runs: pd.DataFrame, cases: pd.DataFrame) -> list[ClassTable]:
    """Return the scores by class behind leaderboards, with strategies in the same order.

    Args:
        boards: the leaderboards of `runs` and `cases`.
        runs: rows of `runs` as for `leaderboards`.
        cases: rows of `cases` as for `leaderboards`; without `predicted_voxels`, which older published tables lack,
            sensitivity and precision are NaN.
    """
    notes = (
        "Means over runs and test cases, without the structure of subjects; for intervals and decisions see the "
        "leaderboard. Sensitivity: share of labelled voxels that are predicted. Precision: share of predicted voxels "
        "that are labelled. As with Dice, both are 1 if both masks are empty, and 0 if one is.",
    )
    scored = with_overlap(cases)
    names = scored["run"].map(runs.set_index("run")["strategy"])
    groups = scored["run"].map(runs.set_index("run")["group"])
    tables = []
    for board in boards:
        own = scored[groups == board.about["group"]]
        rows = []
        for strategy in board.rows["strategy"]:
            of_strategy = own[names[own.index] == strategy]
            by_class = list(of_strategy.groupby("class", sort=False))
            for name, part in [*by_class, *([(ALL, of_strategy)] if len(by_class) > 1 else [])]:
                rows.append({"strategy": strategy, "class": name, **_scores(part), "runs": part["run"].nunique()})
        tables.append(ClassTable(board.title, board.about, notes, pd.DataFrame(rows)))
    return tables


def class_listing(table: ClassTable) -> Listing:
    """Return a table by class whose columns can be chosen; columns without values are hidden."""
    names = [str(name) for name in table.rows]
    forms = dict.fromkeys(names, ".2f") | dict.fromkeys(("dice", "sensitivity", "precision", "nsd"), ".3f")
    forms |= {"strategy": "", "class": "", "runs": "", "empty_rate": ".1%", "average_hausdorff": ".3f"}
    texts = {name: [plain_text(value, forms[name]) for value in table.rows[name].tolist()] for name in names}
    hidden = tuple(name for name in names if table.rows[name].isna().all())
    short = ("strategy", "class", "dice", "sensitivity", "precision", "empty_rate", "runs")
    titles = {name: _HEADINGS.get(name, name.replace("_", " ")) for name in names}
    titles |= {name: f"{titles[name]} [{table.about['unit']}]" for name in names if forms[name] == ".2f"}
    return Listing(
        table.title, table.rows, pd.DataFrame(texts, table.rows.index), titles, ("strategy", "class"), table.notes,
        tuple(name for name in short if name not in hidden), f"{table.title}. {table.notes[0]}", hidden,
    )  # fmt: skip


_HEADINGS = {
    "dice": "Dice", "nsd": "NSD", "empty_rate": "empty", "hd95_median": "HD95 median", "hd95_p90": "HD95 90th",
    "hd95_nonempty": "HD95 non-empty",
}  # fmt: skip


def with_overlap(cases: pd.DataFrame) -> pd.DataFrame:
    """Return cases with `sensitivity` and `precision`, which follow from Dice and both numbers of voxels."""
    if "predicted_voxels" not in cases:
        return cases.assign(sensitivity=np.nan, precision=np.nan)
    predicted, labelled = cases["predicted_voxels"].astype(float), cases["reference_voxels"].astype(float)
    overlap = cases["dice"] * (predicted + labelled) / 2
    both_empty = (predicted == 0) & (labelled == 0)
    shares = {"sensitivity": labelled, "precision": predicted}
    # Rounding must not lift a share above 1.
    found = {name: (overlap / whole.where(whole > 0, np.inf)).clip(upper=1.0) for name, whole in shares.items()}
    return cases.assign(**{name: share.mask(both_empty, 1.0).where(predicted.notna()) for name, share in found.items()})


def _scores(cases: pd.DataFrame) -> dict[str, float]:
    overlap = {name: float(cases[name].mean(skipna=False)) for name in ("dice", "sensitivity", "precision")}
    return overlap | boundary_scores(cases)
