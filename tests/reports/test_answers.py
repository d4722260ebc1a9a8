"""Needs, and the strategies that the records decide upon; all outcomes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stampbench.benchmark.records.tables import read_records
from stampbench.reports.answer_table import answer_listing
from stampbench.reports.answers import Answer, answers
from stampbench.reports.budget import Budget
from stampbench.reports.comparison import compare
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.listing import to_markdown

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Timings = Callable[..., pd.DataFrame]
SMALL = Budget(2_000)
PUBLISHED = Path(__file__).parents[2] / "leaderboards"


def runs_of(strategy: str, gain: float, *, spread: float = 0.001, number: int = 6, **columns: Any) -> list[Any]:
    """Return runs whose Dice is that of `standard` plus a gain, which differs between runs by a spread."""
    noise = np.random.default_rng(sum(map(ord, strategy))).normal(0, spread, (number, 8))
    return [
        {
            "strategy": strategy, "seed": seed, **columns,
            "dice": {f"s{case}": 0.7 + 0.02 * case + gain + float(noise[seed, case]) for case in range(8)},
        }
        for seed in range(number)
    ]  # fmt: skip


def found(frames: Frames, *runs: Sequence[Any], budget: Budget = SMALL, timings: Any = None) -> list[Answer]:
    table, cases = frames(*(each for part in runs for each in part))
    return answers(leaderboards(table, cases, timings), table, budget)


def summary(each: Answer) -> tuple[str, list[str], str, str]:
    return (
        " or ".join(need.words for need in each.needs),
        [arm.strategy for arm in each.arms],
        each.compared[0].decision,
        each.reference.strategy,
    )


STANDARD = {"parameters": 10_000, "flops": 100, "epochs": 10, "ranking_passes": 0}


def test_nothing_is_said_where_everything_is_undecided_or_has_too_few_runs(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    noisy = runs_of("noisy", 0.005, spread=0.2, **STANDARD | {"parameters": 500})
    few = runs_of("few", 0, number=4, **STANDARD | {"parameters": 100})
    assert found(frames, standard, noisy, few) == []
    listing = answer_listing([])
    assert listing.texts.empty
    assert "Nothing is decided" in to_markdown([listing])


def test_equivalent_and_better_strategies_with_a_lower_cost_are_the_answer(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    small = runs_of("small", 0.0, **STANDARD | {"parameters": 1_500})
    smaller = runs_of("smaller", 0.0, **STANDARD | {"parameters": 1_000, "flops": 50})
    tiny = runs_of("tiny", -0.1, **STANDARD | {"parameters": 10, "flops": 5})  # worse
    few, *others = [summary(each) for each in found(frames, standard, small, smaller, tiny)]
    assert few == ("at most 2 k parameters", ["smaller", "small"], "equivalent", "standard")
    assert others == [("few parameters or few FLOPs", ["smaller"], "equivalent", "standard")]
    great = runs_of("great", 0.05, **STANDARD | {"parameters": 1_900})
    few, *_ = [summary(each) for each in found(frames, standard, small, smaller, great)]
    assert few == ("at most 2 k parameters", ["great"], "better", "standard")


def test_where_all_strategies_within_a_budget_are_worse_the_best_of_them_is_named_so(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    small = runs_of("small", -0.05, **STANDARD | {"parameters": 1_500})
    tiny = runs_of("tiny", -0.1, **STANDARD | {"parameters": 10})
    assert [summary(each) for each in found(frames, standard, small, tiny)] == [
        ("at most 2 k parameters", ["small"], "worse", "standard")
    ]
    assert found(frames, standard, small, tiny, budget=Budget(20_000)) == [], "the standard network is within it"


def test_a_strategy_that_is_worse_than_another_one_answers_a_budget_only(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    small = runs_of("small", 0, **STANDARD | {"parameters": 1_500})
    assert len(found(frames, standard, small)) == 1
    large = runs_of("large", 0.05, **STANDARD | {"parameters": 30_000})
    assert [summary(each) for each in found(frames, standard, small, large)] == [
        ("at most 2 k parameters", ["small"], "worse", "large")
    ], "small is equivalent to standard, but not without a loss"


def test_p_is_corrected_for_all_strategies_that_are_compared_with_the_reference(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    small = runs_of("small", 0.025, spread=0.05, **STANDARD | {"parameters": 1_500})
    (alone,) = found(frames, standard, small)
    assert summary(alone)[2] == "better"
    assert 0.01 < alone.compared[0].difference.p < 0.05
    others = [runs_of(f"noise{n}", 0, spread=0.2, **STANDARD | {"parameters": 30_000}) for n in range(5)]
    assert found(frames, standard, small, *others) == []


def test_the_reference_is_another_strategy_where_the_standard_network_decides_nothing(frames: Frames) -> None:
    standard = runs_of("standard", 0, spread=0.2, **STANDARD)
    pruned = runs_of("pruned", 0, **STANDARD | {"parameters": 8_000, "ranking_passes": 7, "epochs": 90})
    random = runs_of("random", 0, **STANDARD | {"parameters": 5_000, "epochs": 80})
    wide = runs_of("wide", -0.0005, **STANDARD | {"parameters": 9_000, "epochs": 90})
    for others in ((pruned, random), (pruned, random, wide)):
        assert [summary(each) for each in found(frames, standard, *others)] == [
            ("few parameters or few training epochs or no ranking of filters", ["random"], "equivalent", "pruned")
        ], "a network with more parameters than the pruned one is no way around the ranking"
    worse = runs_of("random", -0.03, **STANDARD | {"parameters": 5_000, "epochs": 80})
    assert [summary(each) for each in found(frames, standard, pruned, worse)] == [
        ("no ranking of filters", ["random"], "worse", "pruned")
    ], "the standard network ranks no filters either, but has more parameters than the pruned one"


def test_few_epochs_only_count_where_epochs_times_flops_are_not_more(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    wide = runs_of("wide", 0, **STANDARD | {"epochs": 5, "flops": 201})
    equal = runs_of("equal", 0, **STANDARD | {"epochs": 5, "flops": 200})
    brief = runs_of("brief", 0, **STANDARD | {"epochs": 8})
    for others, expected in (
        ((wide,), []),
        ((equal,), [("few training epochs", ["equal"], "equivalent", "standard")]),
        ((wide, brief), [("few training epochs", ["brief"], "equivalent", "standard")]),
        ((equal, brief), [("few training epochs", ["brief", "equal"], "equivalent", "standard")]),
    ):
        said = [summary(each) for each in found(frames, standard, *others)]
        assert [(need, sorted(arms), *rest) for need, arms, *rest in said if "epochs" in need] == expected


def test_of_tasks_with_as_many_training_sets_that_with_the_most_runs_answers_first(frames: Frames) -> None:
    both = []
    for dataset, seeds in (("few", 1), ("many", 2)):
        columns = {"group": dataset, "task": dataset, "dataset": dataset}
        for name, parameters in (("standard", 10_000), ("small", 1_500)):
            both += [
                run | {"training_set": run["seed"], "seed": seed}
                for seed in range(seeds)
                for run in runs_of(name, 0, **STANDARD | columns | {"parameters": parameters})
            ]
    (answer,) = found(frames, both)
    assert answer.task.name == "many (25 images, quick)"


def test_costs_that_differ_more_between_runs_than_between_strategies_are_not_told_apart(frames: Frames) -> None:
    """`small` has fewer FLOPs than `large` on average, but not measurably; always half of them is measurable."""
    standard = runs_of("standard", 0, **STANDARD | {"flops": 1000})
    flops = np.array([300, 500, 700, 200, 600, 400])
    small, large, half = (runs_of(name, 0, **STANDARD) for name in ("small", "large", "half"))
    for seed in range(6):
        small[seed]["flops"], large[seed]["flops"] = int(flops[seed]), int(flops[seed - 1] + 20)
        half[seed]["flops"] = int(flops[seed]) // 2
    (answer,) = found(frames, standard, small, large)
    assert summary(answer) == ("few FLOPs", ["small", "large"], "equivalent", "standard")
    (answer,) = found(frames, standard, small, half)
    assert summary(answer) == ("few FLOPs", ["half"], "equivalent", "standard")


def test_networks_in_low_precision_are_corrected_among_themselves(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    small = runs_of("small", 0.025, spread=0.05, **STANDARD | {"parameters": 1_500})
    copies = [runs_of(f"copy{n}", 0, spread=0.2, name="quantised", **STANDARD) for n in range(5)]
    (answer,) = found(frames, standard, small, *copies)
    assert summary(answer) == ("at most 2 k parameters", ["small"], "better", "standard")


def test_networks_in_low_precision_are_no_answer_where_their_costs_are_those_of_other_networks(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    cheap = STANDARD | {"parameters": 1_500, "epochs": 9}
    copy = runs_of("copy", 0, name="quantised", **cheap)
    assert found(frames, standard, copy) == []
    said = [summary(each)[:2] for each in found(frames, standard, copy, runs_of("small", 0, **cheap))]
    assert {name for _, names in said for name in names} == {"small"}
    assert found(frames, standard, runs_of("copy", 0, name="quantised", **STANDARD)) == []  # it is no reference, either


def timed(timings: Timings, *rows: tuple[str, float, float, float], **columns: Any) -> pd.DataFrame:
    """Return timings of runs: name, ratio and its interval."""
    table = timings(*[(run, "fast", ratio) for run, ratio, _, _ in rows], **columns)
    return table.assign(ratio_low=[low for *_, low, _ in rows], ratio_high=[high for *_, high in rows])


def test_latency_and_limits_of_several_kinds(frames: Frames, timings: Timings) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    quick = runs_of("quick", 0, **STANDARD)
    times = timed(timings, ("r0", 1, 1, 1), ("r6", 0.5, 0.48, 0.52), processor="Epyc")
    (each,) = found(frames, standard, quick, timings=times)
    assert summary(each) == ("low latency", ["quick"], "equivalent", "standard")
    first, *_ = found(frames, standard, quick, timings=times, budget=Budget(epochs=50, latency=0.6))
    assert summary(first)[:2] == ("at most 0.6 × latency and 50 epochs", ["quick"])
    (row,) = answer_listing([first]).texts.to_dict("records")
    assert row["use"] == "quick: 0.50 × latency, 95 % 0.48 to 0.52"
    low, high = first.compared[0].difference.interval()
    assert row["evidence"] == (
        f"equivalent within ±.01 to standard (1.00 × latency): "
        f"{first.compared[0].difference.mean:+.4f} ({low:+.4f} to {high:+.4f}); 6 pairs of runs; "
        "fast backend on Epyc, 2 threads; d (25 images, quick)"
    )


def test_the_lowest_latency_wins_only_where_intervals_do_not_overlap(frames: Frames, timings: Timings) -> None:
    runs = [runs_of(name, 0, **STANDARD) for name in ("standard", "quick", "second")]
    worse = runs_of("worse", -0.1, **STANDARD)
    base, fast_and_worse = ("r0", 1, 1, 1), ("r18", 0.1, 0.09, 0.11)

    def answer(*times: tuple[str, float, float, float]) -> Answer:
        (each,) = found(frames, *runs, worse, timings=timed(timings, base, *times, fast_and_worse))
        return each

    winner = answer(("r6", 0.5, 0.48, 0.52), ("r12", 0.6, 0.58, 0.62))
    assert summary(winner) == ("low latency", ["quick"], "equivalent", "standard"), "not the faster one, which is worse"
    both = answer(("r6", 0.5, 0.48, 0.52), ("r12", 0.53, 0.51, 0.55))
    assert {arm.strategy for arm in both.arms} == {"quick", "second"}
    neither = answer(("r6", 0.98, 0.95, 1.01), ("r12", 0.99, 0.96, 1.02))
    assert {arm.strategy for arm in neither.arms} == {"quick", "second"}
    (row,) = answer_listing([neither]).texts.to_dict("records")
    start = "no strategy that is not worse is measurably faster than standard: "
    assert row["use"].startswith(start)
    assert "quick: 0.98 × latency, 95 % 0.95 to 1.01" in row["use"]
    assert row["use"].endswith("(not separated)")


def test_no_row_says_that_nothing_is_faster_where_an_undecided_strategy_is(frames: Frames, timings: Timings) -> None:
    runs = [runs_of(name, 0, **STANDARD) for name in ("standard", "quick")]
    noisy = runs_of("noisy", 0, spread=0.2, **STANDARD)
    times = timed(timings, ("r0", 1, 1, 1), ("r6", 0.98, 0.95, 1.01), ("r12", 0.5, 0.48, 0.52))
    assert found(frames, *runs, noisy, timings=times) == []
    assert found(frames, *runs, timings=timings(("r0", "fast", 1.0), ("r6", "fast", 0.5))) == [], "without intervals"


def test_latencies_of_different_backends_are_not_compared(frames: Frames, timings: Timings) -> None:
    standard = runs_of("standard", 0, **STANDARD, group="a", task="t")
    others = [runs_of(name, 0, **STANDARD, group="b", task="t", protocol="quick (max_epochs=9)")
              for name in ("standard", "quick")]  # fmt: skip
    one = timed(timings, ("r0", 1, 1, 1))
    two = timed(timings, ("r6", 1, 1, 1), ("r12", 0.5, 0.48, 0.52), measured="two")
    (alike,) = found(frames, standard, *others, timings=pd.concat([one, two]))
    assert alike.reference.timed == "fast backend on p, 2 threads"
    two = two.assign(backend="eager")
    (each,) = found(frames, standard, *others, timings=pd.concat([one, two]))
    assert [alike.reference.protocol, each.reference.protocol] == ["quick", "quick (max_epochs=9)"]
    assert each.reference.timed == each.arms[0].timed == "eager backend on p, 2 threads"


def test_epoch_budgets_of_one_protocol_are_compared_and_training_sets_come_first(frames: Frames) -> None:
    def sets(runs: list[Any], **columns: Any) -> list[Any]:
        return [each | {"training_set": each["seed"], **columns} for each in runs]

    short = {"group": "short", "task": "t", "protocol": "paper"}
    long = {"group": "long", "task": "t", "protocol": "paper (max_epochs=99)", "epochs": 99}
    standard = sets(runs_of("standard", 0, **STANDARD), **short)
    small = sets(runs_of("small", 0, **STANDARD | {"parameters": 1_500}), **long)
    other = STANDARD | {"parameters": 1_600, "flops": 50, "group": "e"}
    elsewhere = [*runs_of("standard", 0, number=9, group="e", **STANDARD), *runs_of("other", 0, number=9, **other)]
    first, flops, last = found(frames, elsewhere, standard, small)
    assert summary(first) == ("at most 2 k parameters", ["small"], "equivalent", "standard")
    assert summary(flops) == ("few FLOPs", ["other"], "equivalent", "standard"), "nothing else has fewer"
    assert summary(last) == ("few training epochs", ["standard"], "equivalent", "small")
    use, evidence = answer_listing([first]).texts[["use", "evidence"]].iloc[0]
    assert use == "small: 1.50 k parameters, 99 epochs"
    assert "to standard (10.0 k parameters, 10 epochs): " in evidence
    assert evidence.endswith("; 6 training sets; d (25 images, paper)")


def test_epochs_are_named_where_an_answer_is_trained_twice_as_long(frames: Frames) -> None:
    standard = runs_of("standard", 0, **STANDARD)
    pruned = runs_of("pruned", 0, **STANDARD | {"flops": 40, "epochs": 20})
    (flops,) = found(frames, standard, pruned)
    use, evidence = answer_listing([flops]).texts[["use", "evidence"]].iloc[0]
    assert use == "pruned: 40 FLOPs, 20 epochs"
    assert "to standard (100 FLOPs, 10 epochs): " in evidence
    quicker = runs_of("pruned", 0, **STANDARD | {"flops": 40, "epochs": 19})
    (flops,) = found(frames, standard, quicker)
    assert answer_listing([flops]).texts["use"].iloc[0] == "pruned: 40 FLOPs"


def test_nothing_is_recommended_where_nothing_is_learnt(frames: Frames) -> None:
    standard = runs_of("standard", -0.5, **STANDARD)
    small = runs_of("small", -0.5, **STANDARD | {"parameters": 1_500})
    assert found(frames, standard, small) == []


@pytest.fixture(scope="module")
def published() -> tuple[list[Answer], pd.DataFrame, pd.DataFrame]:
    records = read_records(PUBLISHED, [], trajectories=False)
    boards = leaderboards(records.runs, records.cases, records.timings)
    return answers(boards, records.runs), records.runs, records.cases


def test_published_answers_are_at_most_six_and_have_the_numbers_of_compare(published: Any) -> None:
    found, runs, cases = published
    assert 1 <= len(found) <= 6

    def of(arm: Any) -> pd.DataFrame:
        return runs[(runs["strategy"] == arm.strategy) & (runs["protocol"] == arm.protocol)]

    checked = 0
    for answer in found:
        for arm, each in zip(answer.arms, answer.compared, strict=True):
            differences = [
                other.difference for other in compare(of(arm), of(answer.reference), cases)
                if other.difference.subjects == each.difference.subjects
            ]  # fmt: skip
            assert any(other.interval() == pytest.approx(each.difference.interval()) for other in differences)
            checked += 1
    assert checked >= len(found)
