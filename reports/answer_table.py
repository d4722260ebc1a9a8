"""Answers to needs as a table: if you need …, use …, and the evidence."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from stampbench.reports.answers import Answer
from stampbench.reports.listing import Listing
from stampbench.reports.needs import Arm

_NAMED = 3
"""Most strategies that a row names."""
_MUCH_LONGER = 2
"""Epochs are named if the longest training has this many times those of the shortest, or more."""
_NOTE = (
    "Differences: test Dice of the strategy minus that of the reference, with the 95 % confidence interval over runs "
    "(or training sets) and subjects. Equivalent: its 90 % interval lies within the margin, not corrected. Better or "
    "worse: p < .05 after Holm's correction for all strategies that are compared with the same reference. The "
    "reference is the standard network, or else the strategy with the highest Dice for which there is a decision. "
    "Strategies are chosen by the test Dice that the intervals describe, so that differences are a little optimistic. "
    "Costs are means over runs, and lower only where the paired 95 % interval excludes 0. Latency: relative to the "
    "standard network, with its 95 % interval over networks if five or more of a strategy were timed, else over rounds "
    "of timing; lower only where the intervals do not overlap. Epochs are named where one strategy of a row takes "
    "twice those of another, or more. A need has no row where nothing is decided."
)


def answer_listing(found: Sequence[Answer]) -> Listing:
    """Return answers as a table: need, strategies, and evidence."""
    rows = [
        [
            " or ".join(need.words for need in each.needs),
            _uses(each),
            _evidence_text(each),
            each.compared[0].decision,
            each.reference.strategy,
            each.task.name,
        ]
        for each in found
    ]
    titles = {
        "need": "If you need …", "use": "use …", "evidence": "evidence", "decision": "decision",
        "reference": "reference", "task": "data and protocol",
    }  # fmt: skip
    table = pd.DataFrame(rows, columns=list(titles))
    notes = (_NOTE,) if found else ("Nothing is decided: every difference is undecided or has too few runs.",)
    hidden = ("decision", "reference", "task")
    caption = f"Strategies for needs. {notes[0]}"
    return Listing("", table, table, titles, tuple(titles), notes, caption=caption, hidden=hidden)


def _uses(answer: Answer) -> str:
    """Name the strategies with their cost."""
    named = [f"{arm.strategy}: {_cost(arm, answer)}" for arm in answer.arms[:_NAMED]]
    more = len(answer.arms) - _NAMED
    start = (
        ""
        if answer.separated
        else f"no strategy that is not worse is measurably faster than {answer.reference.strategy}: "
    )
    end = " (not separated)" if len(answer.arms) > 1 else ""
    return start + "; ".join([*named, *([f"{more} more"] if more > 0 else [])]) + end


def _cost(arm: Arm, answer: Answer) -> str:
    """Return the cost, and the epochs where protocols differ or an answer is trained for much longer than another."""
    texts = list(dict.fromkeys(need.text(arm.row) for need in answer.needs))
    trained = [each.row["epochs"] for each in (*answer.arms[:_NAMED], answer.reference)]
    protocols = {each.protocol for each in answer.task.arms}
    if len(protocols) > 1 or max(trained) >= _MUCH_LONGER * min(trained):
        texts = list(dict.fromkeys([*texts, f"{arm.row['epochs']:,} epochs"]))
    return ", ".join(texts)


def _evidence_text(answer: Answer) -> str:
    """Return the decision, the reference, the differences with intervals, and what was trained."""
    decision, task = answer.compared[0].decision, answer.task
    words = f"equivalent within ±{task.margin:g}".replace("±0.", "±.") + " to"
    words = words if decision == "equivalent" else f"{decision} than"
    unit = "training sets" if task.sets else "pairs of runs"
    alike = len({each.pairs for each in answer.compared}) == 1
    parts = []
    for arm, each in list(zip(answer.arms, answer.compared, strict=True))[:_NAMED]:
        low, high = each.difference.interval()
        name = f"{arm.strategy} " if len(answer.arms) > 1 else ""
        number = "" if alike else f", {each.pairs} {unit}"
        parts.append(f"{name}{each.difference.mean:+.4f} ({low:+.4f} to {high:+.4f}){number}")
    parts += [f"{answer.compared[0].pairs} {unit}"] if alike else []
    parts += [answer.reference.timed] if any(need.timed for need in answer.needs) and answer.reference.timed else []
    reference = f"{answer.reference.strategy} ({_cost(answer.reference, answer)})"
    return f"{words} {reference}: {'; '.join([*parts, task.name])}"
