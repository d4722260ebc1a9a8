"""Rankings over several datasets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stampbench.reports.leaderboard import Board, leaderboards
from stampbench.reports.overall import _agreement, overall_ranking
from stampbench.reports.table_formats import to_markdown

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def board_of(frames: Frames, dataset: str, runs: int = 5, **scores: list[float]) -> Board:
    """Build a leaderboard from the Dice of each strategy by case, the same in all runs but for a little noise."""
    rng = np.random.default_rng(len(dataset))
    rows, cases = frames(
        *(
            {
                "strategy": name, "dataset": dataset, "group": dataset, "fold": fold,
                "dice": {f"c{n}": x + rng.normal(0, 1e-4) for n, x in enumerate(dice)},
            }
            for name, dice in scores.items()
            for fold in range(runs)
        )
    )  # fmt: skip
    (board,) = leaderboards(rows, cases)
    return board


def test_ranks_are_within_runs_and_subjects_and_datasets_have_equal_weight(frames: Frames) -> None:
    """Ranks of a and b on dataset one: 1, 1 and 2, 2. On dataset two: 2, 2, 2, 1 and 1, 1, 1, 2."""
    boards = [
        board_of(frames, "one", a=[0.9, 0.9], b=[0.2, 0.2], only_here=[0.5, 0.5]),
        board_of(frames, "two", a=[0.4, 0.4, 0.4, 0.9], b=[0.6] * 4),
    ]
    (ranking,) = overall_ranking(boards)
    rows = ranking.rows.set_index("strategy")
    assert dict(rows["mean_rank"]) == {"a": pytest.approx((1 + 1.75) / 2), "b": pytest.approx((2 + 1.25) / 2)}
    assert rows.loc["a", "low"] <= rows.loc["a", "mean_rank"] <= rows.loc["a", "high"]
    assert rows["first"].sum() == pytest.approx(1)
    assert rows["improvement"].isna().all(), "there is no standard network"
    assert any("only_here" in note for note in ranking.notes)
    assert "mean rank (95 %)" in to_markdown(boards, [ranking])


def test_interquartile_mean_and_probability_of_improvement(frames: Frames) -> None:
    """On `one` every run of `a` is better than every run of standard, on `two` none is: the probability is .5."""
    boards = [
        board_of(frames, "one", standard=[0.6] * 8, a=[0.8] * 8),
        board_of(frames, "three", standard=[0.8] * 8, a=[0.6] * 8),
    ]
    (ranking,) = overall_ranking(boards)
    rows = ranking.rows.set_index("strategy")
    assert dict(rows["improvement"]) == {"a": pytest.approx(0.5), "standard": pytest.approx(0.5)}
    runs = [each.scores["a"].mean(axis=1) for each in boards]
    assert rows.loc["a", "iqm"] == pytest.approx(stats.trim_mean(np.concatenate(runs), 0.25))
    assert rows.loc["a", "iqm"] == pytest.approx(0.7, abs=1e-3)


def test_stability_is_one_where_the_order_is_clear_and_low_where_it_is_not(frames: Frames) -> None:
    rng = np.random.default_rng(0)
    clear = {name: [mean] * 10 for name, mean in (("a", 0.9), ("b", 0.7), ("c", 0.5))}
    unclear = {name: list(rng.normal(0.7, 0.1, 10)) for name in "abc"}
    (sure,) = overall_ranking([board_of(frames, "one", **clear), board_of(frames, "three", **clear)])
    (unsure,) = overall_ranking([board_of(frames, "one", **unclear), board_of(frames, "three", **unclear)])
    assert sure.stability == pytest.approx(1)
    assert unsure.stability < 0.9
    assert "Kendall's τ" in " ".join(unsure.notes)


def test_agreement_is_kendalls_tau_where_nothing_is_tied() -> None:
    rng = np.random.default_rng(0)
    order, draws = rng.normal(size=6), rng.normal(size=(20, 6))
    expected = np.mean([stats.kendalltau(order, draw).statistic for draw in draws])
    assert _agreement(order, draws) == pytest.approx(expected)


def test_interval_grows_with_variation_between_runs(frames: Frames) -> None:
    """The same Dice for all subjects: in half of the runs `a` is better, and only drawing runs again shows it."""

    def board(dataset: str, change: float) -> Board:
        runs, cases = frames(
            *(
                {"strategy": name, "dataset": dataset, "group": dataset, "fold": fold,
                 "dice": {f"c{n}": 0.7 + (name == "a") * (change if fold % 2 else 0.1) for n in range(20)}}
                for name in ("a", "b") for fold in range(6)
            )
        )  # fmt: skip
        (made,) = leaderboards(runs, cases)
        return made

    (steady,) = overall_ranking([board("one", 0.1), board("two", 0.1)])
    (varying,) = overall_ranking([board("one", -0.1), board("two", -0.1)])
    width = [(each.rows["high"] - each.rows["low"]).max() for each in (steady, varying)]
    assert width[0] == 0
    assert width[1] > 0.3


def test_training_sets_are_drawn_before_runs(frames: Frames) -> None:
    """Sets differ and runs within a set do not: with runs drawn from all, the interval would be narrower."""
    boards = []
    for dataset in ("one", "two"):
        rows = [
            {
                "strategy": name, "dataset": dataset, "group": dataset, "training_set": number, "seed": seed,
                "dice": {f"c{n}": 0.7 + (name == "a") * (0.1 if number % 2 else -0.1) for n in range(10)},
            }
            for name in ("a", "b") for number in range(4) for seed in range(4)
        ]  # fmt: skip
        boards += leaderboards(*frames(*rows))
    (ranking,) = overall_ranking(boards)
    # The mean of four draws of 1 or 2, averaged over two datasets, has a standard deviation of ½ · ½ / √2 = .177.
    assert ranking.rows["high"].iloc[0] - ranking.rows["low"].iloc[0] == pytest.approx(4 * 0.177, abs=0.15)


def test_boards_without_learning_and_strategies_with_few_runs_do_not_count(frames: Frames) -> None:
    one = board_of(frames, "one", a=[0.9, 0.9], b=[0.2, 0.2])
    unlearnt = board_of(frames, "three", a=[0.3, 0.3], b=[0.2, 0.2])
    few = board_of(frames, "five", 4, a=[0.9, 0.9], b=[0.2, 0.2])
    assert overall_ranking([one, unlearnt]) == []
    assert overall_ranking([one, few]) == []
    two = board_of(frames, "two", a=[0.9, 0.9], b=[0.2, 0.2])
    (ranking,) = overall_ranking([one, unlearnt, two])
    assert unlearnt.title in ranking.notes[-1]


def test_one_dataset_or_two_versions_of_it_give_no_overall_ranking(frames: Frames) -> None:
    one = board_of(frames, "one", a=[0.9, 0.9], b=[0.1, 0.1])
    assert overall_ranking([one]) == []
    later = one._replace(title="later", about=dict(one.about) | {"version": "2"})
    assert overall_ranking([one, later]) == []
