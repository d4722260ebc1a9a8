"""Paired comparison of two strategies, or of two runs, on the same test cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from stampbench.reports.decision import Decision, decide
from stampbench.reports.multi_reader import Estimate
from stampbench.reports.paired_runs import designs, dice_by_run, estimate, interval_over_subjects, pair
from stampbench.reports.statistics import Interval, holm


class IncomparableError(ValueError):
    """Two sets of runs have no data, protocol, folds or test cases in common and cannot be compared."""


class Comparison(NamedTuple):
    """The difference in test Dice, first minus second, on the same data.

    `over_cases` is the difference with an interval over subjects, for these trained networks. `difference` is its
    analysis over runs (or training sets) and subjects. `runs` holds the difference of mean Dice for each training set,
    fold and seed that both have. `cases` has a row per test case with `case`, `subject`, `first`, `second` and
    `difference`, sorted by difference in descending order.
    `margin` is the margin of equivalence.
    """

    title: str
    first: str
    second: str
    over_cases: Interval
    difference: Estimate
    runs: pd.Series[float]
    cases: pd.DataFrame
    margin: float


def compare(first: pd.DataFrame, second: pd.DataFrame, cases: pd.DataFrame) -> list[Comparison]:
    """Compare the runs of two strategies on every leaderboard that has both.

    Scores are averaged over classes and then over the training sets, folds and seeds that both strategies have.
    Exception: if there is exactly one run on each side, the two runs are compared whatever their folds and seeds.

    Runs that are on both sides count for the second only. If no leaderboard has both, runs are compared whose protocols
    differ only in their epoch budget (`task` of `runs`); the title says so.

    Args:
        first: rows of `runs` as for `leaderboards`, of one strategy.
        second: rows of `runs` as for `leaderboards`, of the other strategy.
        cases: rows of `cases` as for `leaderboards`, of these runs.

    Raises:
        IncomparableError: when the runs have nothing in common; the message names what differs.
    """
    first = first[~first["run"].isin(second["run"])]
    if first.empty:
        raise IncomparableError("both sides are the same runs")
    column = "group" if set(first["group"]) & set(second["group"]) else "task"
    groups = [group for group in dict.fromkeys(first[column]) if group in set(second[column])]
    if not groups:
        raise IncomparableError(_describe_difference(first, second))
    comparisons = []
    for group in groups:
        first_runs, second_runs = (part[part[column] == group] for part in (first, second))
        if column == "task":
            _check_one_protocol(first_runs, second_runs)
        if len(first_runs) > 1 or len(second_runs) > 1:
            common = set(designs(first_runs)) & set(designs(second_runs))
            first_runs, second_runs = (
                part[[design in common for design in designs(part)]] for part in (first_runs, second_runs)
            )
        if len(first_runs):
            comparisons.append(_comparison(first_runs, second_runs, cases))
    if not comparisons:
        raise IncomparableError("the runs have no training set, fold and seed in common")
    return comparisons


class RowNames(NamedTuple):
    """What the comparisons of a table have in common, and what tells them apart.

    Attributes:
        other: the strategy that all subtract; empty: several.
        board: the leaderboard of all, if they subtract several strategies; empty: the names hold leaderboards.
        names: for every comparison the other strategy, the leaderboard, or both.
    """

    other: str
    board: str
    names: list[str]


def row_names(comparisons: Sequence[Comparison]) -> RowNames:
    """Return the names of the rows of a table; what all rows share is in none of them."""
    others, boards = {each.second for each in comparisons}, {each.title for each in comparisons}
    if len(others) == 1:
        return RowNames(comparisons[0].second, "", [each.title for each in comparisons])
    if len(boards) == 1:
        return RowNames("", comparisons[0].title, [each.second for each in comparisons])
    return RowNames("", "", [f"{each.second}: {each.title}" for each in comparisons])


def corrected(comparisons: Sequence[Comparison]) -> list[tuple[float, Decision]]:
    """Return the Holm-corrected p-value and the decision of every comparison, as the rows of one question."""
    p_values = holm([each.difference.p for each in comparisons])
    return [(p, decide(each.difference, each.margin, p)) for each, p in zip(comparisons, p_values, strict=True)]


def _comparison(first_runs: pd.DataFrame, second_runs: pd.DataFrame, cases: pd.DataFrame) -> Comparison:
    first, second = (_dice_by_case(part, cases) for part in (first_runs, second_runs))
    if set(first.index) != set(second.index):
        raise IncomparableError(f"the runs were tested on different cases ({len(first)} and {len(second)})")
    row, other = first_runs.iloc[0], second_runs.iloc[0]
    across_budgets = row["protocol"] != other["protocol"]
    protocol = (
        f"{row['protocol']} against {other['protocol']} (different epochs)" if across_budgets else row["protocol"]
    )
    table = pd.DataFrame({"first": first, "second": second}).rename_axis("case").reset_index()
    table["difference"] = table["first"] - table["second"]
    table["subject"] = table["case"].map(dict(zip(cases["case"], cases["subject"], strict=True)))
    scores = [_one_table(part, cases) for part in (first_runs, second_runs)]
    if len(scores[0]) == 1:  # two single runs, which may differ in training set, fold and seed
        scores[1].index = scores[0].index
    differences = pair(*scores)
    if differences.empty:
        raise IncomparableError("the folds have different test cases, which the analysis over runs does not cover")
    sets = differences.index.get_level_values("training_set").nunique() > 1
    return Comparison(
        title=f"{row['dataset']}, {row['n_train']} images, {protocol}",
        first=_name(first_runs, second_runs),
        second=_name(second_runs, first_runs),
        over_cases=interval_over_subjects(differences, sets=sets),
        difference=estimate(differences, sets=sets),
        runs=differences.mean(axis=1),
        cases=table.sort_values("difference", ascending=False, ignore_index=True),
        margin=float(min(first_runs["equivalence_margin"].min(), second_runs["equivalence_margin"].min())),
    )


def _dice_by_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.Series[float]:
    """Return the Dice of every case, averaged over classes and then over runs."""
    cases = cases[cases["run"].isin(runs["run"])]
    return cases.groupby(["run", "case"])["dice"].mean().groupby("case").mean()


def _one_table(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    (table,) = dice_by_run(runs, cases).values()
    return table


def _name(runs: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return the label of the strategy, with the protocol or the run's id if the two sides differ only there."""
    row = runs.iloc[0]
    if row["strategy"] == others["strategy"].iloc[0] and row["protocol"] != others["protocol"].iloc[0]:
        return f"{row['strategy']}@{row['protocol']}"
    same_design = set(designs(runs)) == set(designs(others))
    return str(row["strategy"]) if same_design else f"{row['strategy']} of run {row['run']}"


def _check_one_protocol(first: pd.DataFrame, second: pd.DataFrame) -> None:
    """Refuse sides that mix epoch budgets.

    Raises:
        IncomparableError: when one side has runs of several protocols.
    """
    for runs in (first, second):
        if len(found := sorted(set(runs["protocol"]))) > 1:
            raise IncomparableError(f"'{runs['strategy'].iloc[0]}' has several epoch budgets: {', '.join(found)}")


def _describe_difference(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """Name the first property that no run of one side shares with a run of the other."""
    names = ("dataset", "dataset_version", "data_checksum", "form", "n_train", "protocol")
    for name in names:
        one, other = (sorted(set(runs[name]), key=str) for runs in (first, second))
        if not set(one) & set(other):
            listed = (", ".join(map(str, values)) for values in (one, other))
            return f"the runs differ in {name.replace('_', ' ')}: {' and '.join(listed)}"
    return "no two runs agree in data, training size, preparation of images and protocol"
