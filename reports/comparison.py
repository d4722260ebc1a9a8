"""Paired comparison of two strategies, or of two runs, on the same test cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from stampbench.reports.statistics import Interval, Paired, crossed_interval, holm, paired
from stampbench.reports.table_formats import format_p


class IncomparableError(ValueError):
    """Two sets of runs have no data, protocol, folds or test cases in common and cannot be compared."""


class Comparison(NamedTuple):
    """The difference in test Dice, first minus second, within one leaderboard.

    `paired` holds the difference with an interval over subjects, and tests over subjects. `over_runs` is the difference
    with an interval over runs and subjects. `runs` holds the difference of mean Dice for each fold and seed that both
    have. `cases` has a row per test case with `case`, `first`, `second` and `difference`, sorted by difference in
    descending order.
    """

    title: str
    first: str
    second: str
    paired: Paired
    over_runs: Interval
    runs: pd.Series[float]
    cases: pd.DataFrame


def compare(first: pd.DataFrame, second: pd.DataFrame, cases: pd.DataFrame) -> list[Comparison]:
    """Compare the runs of two strategies on every leaderboard that has both.

    Scores are averaged over classes and then over the folds and seeds that both strategies have. Exception: if there is
    exactly one run on each side, the two runs are compared whatever their folds and seeds.

    Args:
        first: rows of `runs` as for `leaderboards`, of one strategy.
        second: rows of `runs` as for `leaderboards`, of the other strategy.
        cases: rows of `cases` as for `leaderboards`, of these runs.

    Raises:
        IncomparableError: when the runs have nothing in common; the message names what differs.
    """
    groups = [group for group in dict.fromkeys(first["group"]) if group in set(second["group"])]
    if not groups:
        raise IncomparableError(_describe_difference(first.iloc[0], second.iloc[0]))
    comparisons = []
    for group in groups:
        first_runs, second_runs = (part[part["group"] == group] for part in (first, second))
        if len(first_runs) > 1 or len(second_runs) > 1:
            common = set(_folds_and_seeds(first_runs)) & set(_folds_and_seeds(second_runs))
            first_runs, second_runs = (
                part[[pair in common for pair in _folds_and_seeds(part)]] for part in (first_runs, second_runs)
            )
        if len(first_runs):
            comparisons.append(_comparison(first_runs, second_runs, cases))
    if not comparisons:
        raise IncomparableError("the runs have no fold and seed in common")
    return comparisons


def to_markdown(comparisons: Sequence[Comparison], most: int = 5) -> str:
    """Return markdown with a row per leaderboard, and below it the cases that differ most.

    Args:
        comparisons: comparisons of the same two strategies.
        most: number of cases listed for each leaderboard and direction; 0 lists no cases.
    """
    parts = [
        f"### {comparisons[0].first} minus {comparisons[0].second}, test Dice\n",
        _summary_table(comparisons) + "\n",
        "Differences are paired by case, after averaging over classes and runs. 95 % (cases): confidence interval of a "
        "bootstrap over subjects, for these trained networks. 95 % (cases and runs): confidence interval of a "
        "bootstrap over subjects and runs. Tests are over subjects, for these trained networks. Holm: Wilcoxon p "
        "corrected for the number of rows. d: mean over standard deviation of the differences of subjects. per run: "
        "smallest and largest difference for a fold and seed. " + _conclusion(comparisons) + "\n",
    ]
    for each in comparisons if most else ():
        parts += [f"Cases with the largest differences, {each.title}:\n", _case_table(each, most) + "\n"]
    return "\n".join(parts)


def _summary_table(comparisons: Sequence[Comparison]) -> str:
    head = [
        "",
        "difference",
        "95 % (cases)",
        "95 % (cases and runs)",
        "t-test p",
        "Wilcoxon p",
        "Holm",
        "d",
        "per run",
        "cases (subjects)",
    ]
    adjusted = holm([each.paired.wilcoxon_p for each in comparisons])
    rows = [
        [
            each.title,
            f"{each.paired.difference.mean:+.4f}",
            _format_interval(each.paired.difference),
            _format_interval(each.over_runs),
            format_p(each.paired.t_p),
            format_p(each.paired.wilcoxon_p),
            format_p(p),
            "–" if math.isnan(each.paired.effect) else f"{each.paired.effect:+.2f}",
            f"{each.runs.min():+.4f} to {each.runs.max():+.4f} ({len(each.runs)})",
            f"{each.paired.cases} ({each.paired.subjects})",
        ]
        for each, p in zip(comparisons, adjusted, strict=True)
    ]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def _case_table(comparison: Comparison, most: int) -> str:
    """List the `most` cases with the largest and with the smallest difference."""
    shown = pd.concat([comparison.cases.head(most), comparison.cases.tail(most)]).drop_duplicates("case")
    rows = [
        [row.case, f"{row.first:.3f}", f"{row.second:.3f}", f"{row.difference:+.3f}"]
        for row in shown.itertuples(index=False)
    ]
    head = ["case", comparison.first, comparison.second, "difference"]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 3)


def _comparison(first_runs: pd.DataFrame, second_runs: pd.DataFrame, cases: pd.DataFrame) -> Comparison:
    first, second = (_dice_by_case(part, cases) for part in (first_runs, second_runs))
    if set(first.index) != set(second.index):
        raise IncomparableError(f"the runs were tested on different cases ({len(first)} and {len(second)})")
    subjects = dict(zip(cases["case"], cases["subject"], strict=True))
    table = pd.DataFrame({"first": first, "second": second}).rename_axis("case").reset_index()
    table["difference"] = table["first"] - table["second"]
    differences = (
        _dice_by_run_and_case(first_runs, cases).sort_index()
        - _dice_by_run_and_case(second_runs, cases).sort_index().to_numpy()
    )
    row = first_runs.iloc[0]
    return Comparison(
        title=f"{row['dataset']}, {row['n_train']} images, {row['protocol']}",
        first=_name(first_runs, second_runs),
        second=_name(second_runs, first_runs),
        paired=paired(first, second, subjects),
        over_runs=crossed_interval(differences, subjects),
        runs=differences.mean(axis=1),
        cases=table.sort_values("difference", ascending=False, ignore_index=True),
    )


def _dice_by_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.Series[float]:
    """Return the Dice of every case, averaged over classes and then over runs."""
    cases = cases[cases["run"].isin(runs["run"])]
    return cases.groupby(["run", "case"])["dice"].mean().groupby("case").mean()


def _dice_by_run_and_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Return Dice averaged over classes, with a row per fold and seed and a column per case."""
    cases = cases.merge(runs[["run", "fold", "seed"]], on="run")
    table: pd.DataFrame = cases.pivot_table(values="dice", index=["fold", "seed"], columns="case", aggfunc="mean")
    return table


def _name(runs: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return the label of the strategy; if the two sides differ in fold or seed, the id of the run as well."""
    row = runs.iloc[0]
    same_design = set(_folds_and_seeds(runs)) == set(_folds_and_seeds(others))
    return str(row["strategy"]) if same_design else f"{row['strategy']} of run {row['run']}"


def _folds_and_seeds(runs: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(runs["fold"], runs["seed"], strict=True))


def _format_interval(interval: Interval) -> str:
    return "–" if math.isnan(interval.low) else f"{interval.low:+.4f} to {interval.high:+.4f}"


def _conclusion(comparisons: Sequence[Comparison]) -> str:
    """Say in how many rows no difference may be claimed.

    A difference requires an interval that excludes 0: the interval over runs and subjects where there are several runs,
    else the interval over subjects.
    """
    intervals = [each.paired.difference if math.isnan(each.over_runs.low) else each.over_runs for each in comparisons]
    undecided = sum(not (each.low > 0 or each.high < 0) for each in intervals)
    single = sum(len(each.runs) == 1 for each in comparisons)
    sentences = [
        f"In {undecided} of {len(intervals)} rows the interval over runs and subjects (over subjects only, if there is "
        "a single pair of runs) includes 0 or is missing: these rows show no difference."
    ]
    if single:
        sentences.append(
            f"{single} of {len(intervals)} rows compare a single pair of runs: variation between training runs is not "
            "included."
        )
    return " ".join(sentences)


def _describe_difference(first: pd.Series, second: pd.Series) -> str:  # type: ignore[type-arg]
    names = ("dataset", "dataset_version", "data_checksum", "form", "n_train", "protocol")
    for name in names:
        if first[name] != second[name]:
            return f"the runs differ in {name.replace('_', ' ')}: {first[name]} and {second[name]}"
    return "the runs differ in how images were prepared, or in the protocol"
