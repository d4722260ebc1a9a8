"""Two strategies, or two runs, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from stampbench.reports.statistics import Interval, Paired, crossed_interval, holm, paired
from stampbench.reports.table_formats import p_value


class IncomparableError(ValueError):
    """Nothing in common that could be compared."""


class Comparison(NamedTuple):
    """The first less the second on one board.

    `over_runs` is the difference with an interval over subjects and runs. `cases` has a row per test case: `case`,
    `first`, `second`, `difference`, the largest difference first. `runs` holds the difference of means for each fold
    and seed that both have.
    """

    title: str
    first: str
    second: str
    paired: Paired
    over_runs: Interval
    runs: pd.Series[float]
    cases: pd.DataFrame


def compare(first: pd.DataFrame, second: pd.DataFrame, cases: pd.DataFrame) -> list[Comparison]:
    """Compare runs of two strategies wherever data, training size and protocol are the same.

    Scores are averaged over classes and then over the folds and seeds that both have. A run is compared with a run
    whatever their folds and seeds.

    Args:
        first, second: rows of `runs` as for `leaderboards`, each of one strategy.
        cases: of those runs.

    Raises:
        IncomparableError: nothing in common; the message says what differs.
    """
    groups = [group for group in dict.fromkeys(first["group"]) if group in set(second["group"])]
    if not groups:
        raise IncomparableError(_what_differs(first.iloc[0], second.iloc[0]))
    found = []
    for group in groups:
        mine, others = (part[part["group"] == group] for part in (first, second))
        if len(mine) > 1 or len(others) > 1:
            keys = set(_designs(mine)) & set(_designs(others))
            mine, others = (part[[key in keys for key in _designs(part)]] for part in (mine, others))
        if len(mine):
            found.append(_comparison(mine, others, cases))
    if not found:
        raise IncomparableError("they have no fold and seed in common")
    return found


def to_markdown(comparisons: Sequence[Comparison], most: int = 5) -> str:
    """A table with a row per board, then the `most` cases that differ most on each, in either direction."""
    adjusted = holm([each.paired.wilcoxon_p for each in comparisons])
    rows = [
        [
            each.title,
            f"{each.paired.difference.mean:+.4f}",
            _interval(each.paired.difference),
            _interval(each.over_runs),
            p_value(each.paired.t_p),
            p_value(each.paired.wilcoxon_p),
            p_value(p),
            "–" if math.isnan(each.paired.effect) else f"{each.paired.effect:+.2f}",
            f"{each.runs.min():+.4f} to {each.runs.max():+.4f} ({len(each.runs)})",
            f"{each.paired.cases} ({each.paired.subjects})",
        ]
        for each, p in zip(comparisons, adjusted, strict=True)
    ]
    one = comparisons[0]
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
    parts = [
        f"### {one.first} less {one.second}, test Dice\n",
        tabulate(rows, head, tablefmt="github", disable_numparse=True) + "\n",
        "Paired by case, classes and runs averaged; intervals: bootstrap over subjects, and over subjects "
        "and runs; tests over subjects, of these runs; Holm: "
        "Wilcoxon's p corrected for the number of rows; d: mean over standard deviation of the subjects' differences; "
        "per run: smallest and largest difference of a fold and seed. " + _verdict(comparisons) + "\n",
    ]
    for each in comparisons if most else ():
        shown = pd.concat([each.cases.head(most), each.cases.tail(most)]).drop_duplicates("case")
        table = [
            [row.case, f"{row.first:.3f}", f"{row.second:.3f}", f"{row.difference:+.3f}"]
            for row in shown.itertuples(index=False)
        ]
        head = ["case", each.first, each.second, "difference"]
        parts += [
            f"Where they differ most, {each.title}:\n",
            tabulate(table, head, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 3) + "\n",
        ]
    return "\n".join(parts)


def _comparison(mine: pd.DataFrame, others: pd.DataFrame, cases: pd.DataFrame) -> Comparison:
    first, second = (_per_case(part, cases) for part in (mine, others))
    if set(first.index) != set(second.index):
        raise IncomparableError(f"they were tested on other cases ({len(first)} and {len(second)})")
    subjects = dict(zip(cases["case"], cases["subject"], strict=True))
    table = pd.DataFrame({"first": first, "second": second}).rename_axis("case").reset_index()
    table["difference"] = table["first"] - table["second"]
    differences = _by_run(mine, cases).sort_index() - _by_run(others, cases).sort_index().to_numpy()
    row = mine.iloc[0]
    return Comparison(
        title=f"{row['dataset']}, {row['n_train']} images, {row['protocol']}",
        first=_name(mine, others),
        second=_name(others, mine),
        paired=paired(first, second, subjects),
        over_runs=crossed_interval(differences, subjects),
        runs=differences.mean(axis=1),
        cases=table.sort_values("difference", ascending=False, ignore_index=True),
    )


def _per_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.Series[float]:
    own = cases[cases["run"].isin(runs["run"])]
    return own.groupby(["run", "case"])["dice"].mean().groupby("case").mean()


def _by_run(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Dice by fold and seed (rows) and case (columns)."""
    own = cases.merge(runs[["run", "fold", "seed"]], on="run")
    table: pd.DataFrame = own.pivot_table(values="dice", index=["fold", "seed"], columns="case", aggfunc="mean")
    return table


def _name(runs: pd.DataFrame, others: pd.DataFrame) -> str:
    """The strategy; of two runs that differ in fold or seed, these too."""
    row = runs.iloc[0]
    return (
        str(row["strategy"])
        if set(_designs(runs)) == set(_designs(others))
        else f"{row['strategy']} of run {row['run']}"
    )


def _designs(runs: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(runs["fold"], runs["seed"], strict=True))


def _interval(found: Interval) -> str:
    return "–" if math.isnan(found.low) else f"{found.low:+.4f} to {found.high:+.4f}"


def _verdict(comparisons: Sequence[Comparison]) -> str:
    """What may not be claimed: a difference needs an interval without 0, over runs too where there are several."""
    found = [each.paired.difference if math.isnan(each.over_runs.low) else each.over_runs for each in comparisons]
    undecided = sum(not (each.low > 0 or each.high < 0) for each in found)
    single = sum(len(each.runs) == 1 for each in comparisons)
    told = [
        f"In {undecided} of {len(found)} rows the wider interval has 0 in it, or there is none: no difference there."
    ]
    if single:
        told.append(
            f"{single} of {len(found)} rows compare one run with one: they say nothing of others trained alike."
        )
    return " ".join(told)


def _what_differs(first: pd.Series, second: pd.Series) -> str:  # type: ignore[type-arg]
    names = ("dataset", "dataset_version", "data_checksum", "form", "n_train", "protocol")
    for name in names:
        if first[name] != second[name]:
            return f"they differ in {name.replace('_', ' ')}: {first[name]} and {second[name]}"
    return "they differ in how the images were prepared, or in the protocol"
