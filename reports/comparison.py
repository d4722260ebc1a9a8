"""Two strategies, or two runs, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from stampbench.reports.formats import p_value
from stampbench.reports.statistics import Paired, holm, paired


class IncomparableError(ValueError):
    """Nothing in common that could be compared."""


class Comparison(NamedTuple):
    """The first less the second on one board.

    `cases` has a row per test case: `case`, `first`, `second`, `difference`, the largest difference first. `runs` holds
    the difference of means for each fold and seed that both have.
    """

    title: str
    first: str
    second: str
    paired: Paired
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
            _interval(each.paired),
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
    head = ["", "difference", "95 %", "t-test p", "Wilcoxon p", "Holm", "d", "per run", "cases (subjects)"]
    parts = [
        f"### {one.first} less {one.second}, test Dice\n",
        tabulate(rows, head, tablefmt="github", disable_numparse=True) + "\n",
        "Paired by case, classes and runs averaged; 95 %: bootstrap over subjects; tests over subjects; Holm: "
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
    subjects = dict(zip(cases["case"], cases["subject"], strict=True))
    table = pd.DataFrame({"first": first, "second": second}).rename_axis("case").reset_index()
    table["difference"] = table["first"] - table["second"]
    means = [_run_means(part, cases) for part in (mine, others)]
    row = mine.iloc[0]
    return Comparison(
        title=f"{row['dataset']}, {row['n_train']} images, {row['protocol']}",
        first=_name(mine, others),
        second=_name(others, mine),
        paired=paired(first, second, subjects),
        runs=means[0] - means[1] if len(mine) > 1 else means[0].reset_index(drop=True) - means[1].iloc[0],
        cases=table.sort_values("difference", ascending=False, ignore_index=True),
    )


def _per_case(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.Series[float]:
    own = cases[cases["run"].isin(runs["run"])]
    return own.groupby(["run", "case"])["dice"].mean().groupby("case").mean()


def _run_means(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.Series[float]:
    own = cases[cases["run"].isin(runs["run"])]
    means = own.groupby(["run", "case"])["dice"].mean().groupby("run").mean()
    return runs.set_index(["fold", "seed"])["run"].map(means)


def _name(runs: pd.DataFrame, others: pd.DataFrame) -> str:
    """The strategy; of two runs that differ in fold or seed, these too."""
    row = runs.iloc[0]
    return str(row["strategy"]) if _designs(runs) == _designs(others) else f"{row['strategy']} of run {row['run']}"


def _designs(runs: pd.DataFrame) -> list[tuple[int, int]]:
    return list(zip(runs["fold"], runs["seed"], strict=True))


def _interval(found: Paired) -> str:
    low, high = found.difference.low, found.difference.high
    return "–" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}"


def _verdict(comparisons: Sequence[Comparison]) -> str:
    spans = [each.paired.difference.low <= 0 <= each.paired.difference.high for each in comparisons]
    known = [not math.isnan(each.paired.difference.low) for each in comparisons]
    if not any(known):
        return "One subject has no interval: nothing can be said."
    undecided = sum(span for span, is_known in zip(spans, known, strict=True) if is_known)
    return f"{undecided} of {sum(known)} intervals span 0: no difference is claimed there." if undecided else ""


def _what_differs(first: pd.Series, second: pd.Series) -> str:  # type: ignore[type-arg]
    names = ("dataset", "dataset_version", "data_checksum", "size", "n_train", "protocol")
    for name in names:
        if first[name] != second[name]:
            return f"they differ in {name.replace('_', ' ')}: {first[name]} and {second[name]}"
    return "they differ in how the images were prepared, or in the protocol"
