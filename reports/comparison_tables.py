"""Tables of comparisons: a row per leaderboard, and the cases that differ most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from tabulate import tabulate

from stampbench.reports.comparison import Comparison, corrected, row_names
from stampbench.reports.decision import MOST_READERS, Decision, readers_to_decide
from stampbench.reports.escape import markdown
from stampbench.reports.listing import Listing, plain_text
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
    for listing in case_listings(comparisons, most) if most else ():
        parts += [f"{markdown(listing.title)}:\n", _case_table(listing) + "\n"]
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
        "undecided. to decide: runs, or training sets, that would just decide if mean and variance stayed as "
        "they are. per run: smallest and largest difference of a pair of runs."
    )


def _summary_table(comparisons: Sequence[Comparison]) -> str:
    texts = comparison_listing(comparisons).arranged().texts
    head = [_HEADINGS[str(name)] for name in texts]
    rows = [[markdown(cell) for cell in row] for row in texts.to_numpy().tolist()]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


_HEADINGS = {
    "other": "", "difference": "difference", "cases_low": "95 % (cases)", "low": "95 % (runs and cases)", "p": "p",
    "p_holm": "Holm", "decision": "decision", "to_decide": "to decide", "least": "per run", "pairs": "sets, pairs",
    "test_cases": "cases (subjects)",
}  # fmt: skip
_HIDDEN = ("cases_high", "high", "most", "training_sets", "subjects", "leaderboard")
"""Values that a cell of another column shows, too, or the title."""


def comparison_listing(comparisons: Sequence[Comparison]) -> Listing:
    """Return a table with a row per comparison; a text may show several numbers, whose columns are hidden."""
    shared = row_names(comparisons)
    texts, values = [], []
    for each, name, (p, decision) in zip(comparisons, shared.names, corrected(comparisons), strict=True):
        low, high = each.difference.interval()
        row: dict[str, Any] = {
            "other": each.second, "difference": each.difference.mean, "cases_low": each.over_cases.low, "low": low,
            "p": each.difference.p, "p_holm": p, "decision": decision,
            "to_decide": _to_decide(each, decision, len(comparisons)), "least": float(each.runs.min()),
            "pairs": len(each.runs), "test_cases": len(each.cases), "cases_high": each.over_cases.high, "high": high,
            "most": float(each.runs.max()), "training_sets": each.runs.index.get_level_values(0).nunique(),
            "subjects": each.cases["subject"].nunique(), "leaderboard": each.title,
        }  # fmt: skip
        values.append(row)
        texts.append(
            {column: plain_text(value, "+.4f" if isinstance(value, float) else "") for column, value in row.items()}
            | {
                "other": name,
                "cases_low": _format_interval(row["cases_low"], row["cases_high"]),
                "low": _format_interval(low, high),
                "p": format_p(each.difference.p),
                "p_holm": format_p(p),
                "least": f"{row['least']:+.4f} to {row['most']:+.4f}",
                "pairs": f"{row['training_sets']}, {row['pairs']}",
                "test_cases": f"{row['test_cases']} ({row['subjects']})",
                "to_decide": f"> {MOST_READERS:,}" if row["to_decide"] == math.inf else plain_text(row["to_decide"]),
            }
        )
    board = f", {shared.board}" if shared.board else ""
    title = f"{comparisons[0].first} − {shared.other or 'others'}, test Dice{board}"
    return Listing(
        title=title,
        values=pd.DataFrame(values),
        texts=pd.DataFrame(texts),
        titles=_HEADINGS
        | {"other": "leaderboard" if shared.other else "other" if shared.board else "other: leaderboard"}
        | {name: name.replace("_", " ") for name in _HIDDEN},
        left=("other", "decision"),
        notes=(_notes(comparisons),),
        short=("other", "difference", "low", "p_holm", "decision", "pairs"),
        caption=f"{title}. {_notes(comparisons)}",
        hidden=_HIDDEN,
    )


def case_listings(comparisons: Sequence[Comparison], most: int) -> list[Listing]:
    """Return for each comparison the cases with the largest and with the smallest difference.

    Args:
        comparisons: comparisons of one strategy with others.
        most: number of cases for each direction.
    """
    found = []
    for each, name in zip(comparisons, row_names(comparisons).names, strict=True):
        shown = pd.concat([each.cases.head(most), each.cases.tail(most)]).drop_duplicates("case")
        values = shown[["case", "first", "second", "difference"]]
        texts = values.assign(case=values["case"].astype(str))
        for column, form in (("first", "{:.3f}"), ("second", "{:.3f}"), ("difference", "{:+.3f}")):
            texts[column] = texts[column].map(form.format)
        titles = {"case": "case", "first": each.first, "second": each.second, "difference": "difference"}
        found.append(
            Listing(f"Cases with the largest differences, {name}", values, texts, titles, ("case",))
        )  # fmt: skip
    return found


def _case_table(listing: Listing) -> str:
    rows = [[markdown(cell) for cell in row] for row in listing.texts.to_numpy().tolist()]
    head = [markdown(listing.titles[str(name)]) for name in listing.texts]
    return tabulate(rows, head, tablefmt="github", disable_numparse=True, colalign=("left",) + ("right",) * 3)


def _to_decide(comparison: Comparison, decision: Decision, questions: int) -> float:
    """Return how many runs or training sets would decide an undecided row; NaN: the row is not undecided."""
    if decision != "undecided":
        return math.nan
    return readers_to_decide(comparison.difference, comparison.margin, questions) or math.inf


def _format_interval(low: float, high: float) -> str:
    return "too few runs" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}"
