"""Tables of comparisons: a row per leaderboard, and the cases that differ most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from tabulate import tabulate

from stampbench.reports.comparison import Comparison, corrected
from stampbench.reports.escape import markdown
from stampbench.reports.listing import Listing
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.table_formats import format_p


def to_markdown(comparisons: Sequence[Comparison], most: int = 5, *, notes: bool = True) -> str:
    """Return markdown with a row per leaderboard, and below it the cases that differ most.

    Args:
        comparisons: comparisons of one strategy with others.
        most: number of cases listed for each leaderboard and direction; 0 lists no cases.
        notes: whether a paragraph below the table explains its columns.
    """
    parts = [
        f"### {markdown(comparison_listing(comparisons).title)}\n",
        _summary_table(comparisons) + "\n",
    ]
    if notes:
        parts.append(_notes(comparisons) + "\n")
    for each in comparisons if most else ():
        parts += [f"Cases with the largest differences, {markdown(each.title)}:\n", _case_table(each, most) + "\n"]
    return "\n".join(parts)


def _notes(comparisons: Sequence[Comparison]) -> str:
    """Explain the columns of the table."""
    margins = " or ±".join(sorted({f"{each.margin:g}" for each in comparisons}))
    return (
        "Differences are paired by training set, fold, seed and subject. 95 % (cases): confidence interval over "
        "subjects, for these trained networks. 95 % (runs and cases) and p: multi-reader multi-case analysis with "
        "runs, or training sets if there are several, as readers; it holds for training again and needs "
        f"{MIN_READERS} of them. Holm: p corrected for the number of rows. Decision: better or worse if the corrected "
        f"p is below .05, else equivalent if the 90 % interval lies within ±{margins}, else "
        "undecided. per run: smallest and largest difference of a pair of runs."
    )


def _summary_table(comparisons: Sequence[Comparison]) -> str:
    texts = comparison_listing(comparisons).texts
    head = [_HEADINGS[str(name)] for name in texts]
    rows = [[markdown(cell) for cell in row] for row in texts.to_numpy().tolist()]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


_HEADINGS = {
    "other": "", "difference": "difference", "cases": "95 % (cases)", "interval": "95 % (runs and cases)", "p": "p",
    "p_holm": "Holm", "decision": "decision", "per_run": "per run", "pairs": "sets, pairs",
    "test_cases": "cases (subjects)",
}  # fmt: skip


def comparison_listing(comparisons: Sequence[Comparison]) -> Listing:
    """Return a table with a row per comparison; values hold the numbers of which texts show several in a cell."""
    several = len({each.second for each in comparisons}) > 1
    texts, values = [], []
    for each, (p, decision) in zip(comparisons, corrected(comparisons), strict=True):
        name = f"{each.second}: {each.title}" if several else each.title
        low, high = each.difference.interval()
        texts.append(
            [
                name,
                f"{each.difference.mean:+.4f}",
                _format_interval(each.over_cases.low, each.over_cases.high),
                _format_interval(low, high),
                format_p(each.difference.p),
                format_p(p),
                decision,
                f"{each.runs.min():+.4f} to {each.runs.max():+.4f}",
                f"{each.runs.index.get_level_values(0).nunique()}, {len(each.runs)}",
                f"{len(each.cases)} ({each.cases['subject'].nunique()})",
            ]
        )
        values.append(
            [name, each.difference.mean, each.over_cases.low, low, each.difference.p, p, decision,
             float(each.runs.min()), len(each.runs), len(each.cases)]
        )  # fmt: skip
    seconds = list(dict.fromkeys(each.second for each in comparisons))
    title = f"{comparisons[0].first} − {'each of ' if several else ''}{', '.join(seconds)}, test Dice"
    return Listing(
        title=title,
        values=pd.DataFrame(values, columns=list(_HEADINGS)),
        texts=pd.DataFrame(texts, columns=list(_HEADINGS)),
        titles=_HEADINGS | {"other": "other: leaderboard" if several else "leaderboard"},
        left=("other", "decision"),
        notes=(_notes(comparisons),),
        short=("other", "difference", "interval", "p_holm", "decision", "pairs"),
        caption=f"{title}. {_notes(comparisons)}",
    )


def case_listings(comparisons: Sequence[Comparison], most: int) -> list[Listing]:
    """Return for each comparison the cases with the largest and with the smallest difference.

    Args:
        comparisons: comparisons of one strategy with others.
        most: number of cases for each direction.
    """
    found = []
    for each in comparisons:
        shown = pd.concat([each.cases.head(most), each.cases.tail(most)]).drop_duplicates("case")
        values = shown[["case", "first", "second", "difference"]]
        texts = values.assign(case=values["case"].astype(str))
        for name, form in (("first", "{:.3f}"), ("second", "{:.3f}"), ("difference", "{:+.3f}")):
            texts[name] = texts[name].map(form.format)
        titles = {"case": "case", "first": each.first, "second": each.second, "difference": "difference"}
        found.append(
            Listing(f"Cases with the largest differences, {each.title}", values, texts, titles, ("case",))
        )  # fmt: skip
    return found


def _case_table(comparison: Comparison, most: int) -> str:
    """List the `most` cases with the largest and with the smallest difference."""
    (listing,) = case_listings([comparison], most)
    rows = [[markdown(cell) for cell in row] for row in listing.texts.to_numpy().tolist()]
    head = [markdown(listing.titles[str(name)]) for name in listing.texts]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 3)


def _format_interval(low: float, high: float) -> str:
    return "too few runs" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}"
