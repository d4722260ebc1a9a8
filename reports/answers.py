"""Answers to needs: which strategy to use for a small, fast or cheap network, where the records decide it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.budget import Budget
from stampbench.reports.decision import Decision, decide
from stampbench.reports.leaderboard import LEARNT, Board
from stampbench.reports.multi_reader import Estimate
from stampbench.reports.needs import COSTS, LIMIT, NEEDS, WORK, Arm, Need
from stampbench.reports.paired_runs import RUN, estimate, joined_folds, pair
from stampbench.reports.speed import in_low_precision, standard_label
from stampbench.reports.statistics import holm


class Task(NamedTuple):
    """Arms that can be compared: same data and training size, and protocols that differ at most in the epoch budget.

    Attributes:
        name: dataset, training size and protocol.
        arms: the arms, from the highest to the lowest Dice.
        standard: label of the standard network.
        margin: margin of equivalence.
        sets: whether training sets are the readers.
    """

    name: str
    arms: Sequence[Arm]
    standard: str | None
    margin: float
    sets: bool


class Compared(NamedTuple):
    """A strategy minus a reference: the analysis, the number of pairs of runs, and the corrected decision."""

    difference: Estimate
    pairs: int
    decision: Decision


class Answer(NamedTuple):
    """The strategies that meet a need, and the decision that supports them.

    Attributes:
        needs: the needs that it meets.
        task: the comparable runs that decide it.
        arms: the strategies; if there are several, they are not separated.
        reference: what they are compared with.
        compared: for each strategy, its comparison with the reference; all have the same decision.
        separated: whether the strategies meet the need better than the reference; else none is measurably faster.
    """

    needs: Sequence[Need]
    task: Task
    arms: Sequence[Arm]
    reference: Arm
    compared: Sequence[Compared]
    separated: bool = True

    @property
    def evidence(self) -> tuple[object, ...]:
        """What two answers share if they say the same of different needs."""
        return self.task.name, self.separated, *(arm[:2] for arm in (*self.arms, self.reference))

    def joined(self, other: Answer) -> Answer:
        """Return the answer with the needs of another one, those of the same cost excepted."""
        costs = [need.cost for need in self.needs]
        return self._replace(needs=[*self.needs, *(need for need in other.needs if need.cost not in costs)])


def tasks(boards: Sequence[Board], runs: pd.DataFrame) -> list[Task]:
    """Return what can be compared behind leaderboards, the most training sets (or else runs) first, then the most runs.

    Strategies with too few runs for an interval are left out, and so are leaderboards on which too little is learnt.

    Args:
        boards: the leaderboards of `runs`.
        runs: rows of `runs` as for `leaderboards`, with `task`.
    """
    found = []
    of_group = {str(board.about["group"]): board for board in boards if float(board.rows["dice"].max()) >= LEARNT}
    for _, own in runs[runs["group"].isin(of_group)].groupby("task", sort=False):
        sets = own["training_set"].nunique() > 1
        by_strategy = dict(iter(own.groupby(["group", "strategy"])))
        costs = {
            key: joined_folds(part.assign(**{WORK: part["epochs"] * part["flops"]})).groupby(RUN)[[*COSTS, WORK]].mean()
            for key, part in by_strategy.items()
        }
        arms = [
            Arm(
                row["strategy"], str(board.about["protocol"]), row, board.scores[row["strategy"]], board.timed,
                costs[board.about["group"], row["strategy"]], sets,
                in_low_precision(by_strategy[board.about["group"], row["strategy"]]),
            )
            for board in (of_group[group] for group in dict.fromkeys(own["group"]))
            for row in board.rows.to_dict("records")
            if not math.isnan(row["dice_low"])
        ]  # fmt: skip
        first = own.iloc[0]
        kind = "synthetic, " if first["synthetic"] else ""
        name = f"{first['dataset']} ({kind}{first['n_train']} images, {min(sorted(set(own['protocol'])), key=len)})"
        arms = sorted(arms, key=lambda arm: (-arm.row["dice"], arm[:2]))
        found.append(Task(name, arms, standard_label(own), float(own["equivalence_margin"].min()), sets))
    return sorted(found, key=_evidence, reverse=True)


def _evidence(task: Task) -> tuple[bool, int, int]:
    """Return what orders tasks: training sets before runs, then their number, then that of the runs."""
    readers = max((len(_readers(arm.scores, task)) for arm in task.arms), default=0)
    return task.sets, readers, max((len(arm.scores) for arm in task.arms), default=0)


def _readers(scores: pd.DataFrame, task: Task) -> pd.Index[Any]:
    return scores.index.get_level_values("training_set").unique() if task.sets else scores.index


def comparisons(task: Task) -> dict[tuple[int, int], Compared]:
    """Return the comparison of each strategy with each other one, by their positions in `Task.arms`.

    p-values are corrected by Holm's method for all strategies that are compared with the same reference, those in low
    precision among themselves.
    """
    found = {}
    for second, reference in enumerate(task.arms):
        others = [number for number in range(len(task.arms)) if number != second]
        tables = [pair(task.arms[number].scores, reference.scores) for number in others]
        differences = [estimate(table, sets=task.sets) for table in tables]
        corrected = holm([each.p for each in differences], [task.arms[number].low_precision for number in others])
        for first, table, difference, p in zip(others, tables, differences, corrected, strict=True):
            decision = decide(difference, task.margin, p)
            found[first, second] = Compared(difference, len(_readers(table, task)), decision)
    return found


def answers(boards: Sequence[Board], runs: pd.DataFrame, budget: Budget = LIMIT) -> list[Answer]:
    """Return answers for a budget and for each of `NEEDS`; none where nothing is decided.

    An answer is a strategy that is better than a reference with a higher cost, or equivalent to it, and not worse than
    any other strategy. The reference is the standard network, or else the strategy with the highest Dice for which
    there is such a decision. For the budget and for the need of no ranking, the reference does not meet the need, and
    where all strategies that do are worse than the reference, they are the answer, with this decision. The tasks with
    the most training sets or runs come first. Needs with the same strategies and the same reference are one answer.

    Args:
        boards: the leaderboards of `runs`.
        runs: rows of `runs` as for `leaderboards`, with `task`.
        budget: the budget, with at least one limit.
    """
    first = next(name for name, limit in budget._asdict().items() if limit is not None)
    need = NEEDS[first]._replace(
        words=f"at most {budget}", meets=lambda row: bool(budget.fits(pd.DataFrame([row])).all()),
        timed=budget.latency is not None, besides="",
    )  # fmt: skip
    compared = [(task, comparisons(task)) for task in tasks(boards, runs)]
    found: dict[object, Answer] = {}
    for each in (need, *NEEDS.values()):
        answer = next(filter(None, (_answer(each, task, pairs) for task, pairs in compared)), None)
        if answer is not None:
            same = found.get(answer.evidence)
            found[answer.evidence] = answer if same is None else same.joined(answer)
    return list(found.values())


def _answer(need: Need, task: Task, pairs: Mapping[tuple[int, int], Compared]) -> Answer | None:
    """Return the answer of a task, or None if nothing is decided.

    Args:
        need: the need.
        task: the task.
        pairs: its `comparisons`.
    """
    arms, numbers = task.arms, range(len(task.arms))
    references = sorted(numbers, key=lambda number: arms[number].strategy != task.standard)
    # Where no latency is measurably lower, strategies are named that are as fast as the reference.
    passes = [(each, separated) for separated in (True, False) for each in references if separated or need.timed]
    for reference, separated in passes:
        fitting = _fitting(need, task, reference, separated=separated)
        decisions = {each: pairs[each, reference].decision for each in numbers if each != reference}
        if not separated and any(
            decisions[each] != "worse" and need.below(arms[each], arms[reference]) for each in decisions
        ):
            continue
        good = [each for each in _not_worse(fitting, numbers, pairs) if decisions[each] in ("better", "equivalent")]
        if need.meets is None:
            lowest = min(good, key=lambda each: arms[each].row[need.cost], default=0)
            good = [each for each in good if not need.below(arms[lowest], arms[each])]
        elif not good and {decisions[each] for each in fitting} == {"worse"}:
            good = _not_worse(fitting, fitting, pairs)
        if any(decisions[each] == "better" for each in good):
            good = [each for each in good if decisions[each] == "better"]
        if good:
            good = sorted(good, key=lambda each: arms[each].row[need.cost])
            found = [pairs[each, reference] for each in good]
            return Answer([need], task, [arms[each] for each in good], arms[reference], found, separated)
    return None


def _fitting(need: Need, task: Task, reference: int, *, separated: bool) -> list[int]:
    """Return the strategies that meet a need if the reference does not.

    Networks in low precision have the parameters, FLOPs and epochs of other rows, so that they save latency only, and
    are no reference for other needs.

    Args:
        need: the need.
        task: the task.
        reference: position of the reference.
        separated: whether they cost less; else they are as fast as the reference.
    """
    arms, first = task.arms, task.arms[reference]
    numbers = [each for each, arm in enumerate(arms) if need.timed or not arm.low_precision]
    if reference not in numbers:
        return []
    if need.meets is not None:
        inside = [each for each in numbers if need.meets(arms[each].row)]
        if not separated or reference in inside:
            return []
        return [each for each in inside if not need.costs_more(arms[each], first)]
    fits = need.below if separated else need.alike
    return [each for each in numbers if each != reference and fits(arms[each], first)]


def _not_worse(numbers: Sequence[int], others: Sequence[int], pairs: Mapping[tuple[int, int], Compared]) -> list[int]:
    """Return the strategies that are not worse than any of the others."""
    return [
        each for each in numbers
        if not any(other != each and pairs[each, other].decision == "worse" for other in others)
    ]  # fmt: skip
