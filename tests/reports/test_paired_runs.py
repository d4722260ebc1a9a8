"""Pairs of runs, adjusted means, tiers, Pareto fronts, suitability and boundary scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.reports.boundary import boundary_scores
from stampbench.reports.paired_runs import RUN, adjusted_means, all_pairs, by_reader, dice_by_run, estimate, pair
from stampbench.reports.suitability import suitability
from stampbench.reports.tiers import pareto_front, tiers

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def table(values: Mapping[tuple[int, int, int], list[float]]) -> pd.DataFrame:
    """Return a table of Dice by training set, fold and seed, with a column per subject."""
    index = pd.MultiIndex.from_tuples(values, names=RUN)
    return pd.DataFrame([*values.values()], index).rename(columns="s{}".format)


def noisy(mean: float, seed: int, runs: int = 6, spread: float = 0.005) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return table({(0, fold, 0): list(rng.normal(mean, spread, 10)) for fold in range(runs)})


def test_cases_are_averaged_over_classes_and_then_within_a_subject(frames: Frames) -> None:
    """The subject `s` has the cases .5 and .7, `t` has one with .9."""
    found = dice_by_run(*frames({"strategy": "a", "seed": 3, "dice": {"s/1": 0.5, "s/2": 0.7, "t": 0.9}}))
    assert found["a"].loc[(0, 0, 3)].to_dict() == pytest.approx({"s": 0.6, "t": 0.9})


def test_only_common_runs_are_paired_and_other_subjects_prevent_it() -> None:
    one = table({(0, 0, 0): [0.8, 0.6], (0, 1, 0): [0.9, 0.9], (1, 0, 0): [0.5, 0.5]})
    other = table({(0, 0, 0): [0.5, 0.5], (2, 0, 0): [0.1, 0.1]})
    assert pair(one, other).to_numpy().tolist() == [pytest.approx([0.3, 0.1])]
    assert pair(one, table({(0, 0, 0): [0.5, math.nan]})).empty
    assert pair(one, table({(0, 4, 0): [0.5, 0.5]})).empty


def test_training_sets_are_the_readers_if_there_are_several() -> None:
    """Seeds are averaged within a set: .1 and .3 become .2."""
    several = table({(0, 0, 0): [0.1], (0, 0, 1): [0.3], (1, 0, 0): [0.4], (1, 0, 1): [0.6]})
    assert by_reader(several, sets=True)["s0"].tolist() == pytest.approx([0.2, 0.5])
    assert by_reader(several, sets=False) is several
    rng = np.random.default_rng(0)
    values = {(number, 0, seed): list(rng.normal(0.1, 0.01, 8)) for number in range(5) for seed in range(2)}
    assert estimate(table(values), sets=True).readers == 5


def test_gaps_give_no_estimate() -> None:
    assert math.isnan(estimate(table({(0, 0, 0): [0.5, math.nan], (0, 1, 0): [math.nan, 0.5]}), sets=False).mean)


def test_a_subject_of_whom_a_case_is_missing_does_not_count(frames: Frames) -> None:
    """The mean of `b` over one case of `s` must not be compared with that of `a` over two."""
    found = dice_by_run(
        *frames({"strategy": "a", "dice": {"s/1": 0.5, "s/2": 0.9}}, {"strategy": "b", "dice": {"s/1": 0.5}})
    )
    assert found["b"].isna().all(axis=None)
    assert pair(found["a"], found["b"]).empty


def test_adjusted_means_are_those_of_a_table_without_gaps_plus_the_effects_of_runs() -> None:
    """`b` lacks the bad run, in which all others lose .3; its adjusted mean is what it would have with all runs."""
    effect, run = {"a": 0.8, "b": 0.81, "c": 0.7}, [0.0, -0.3, 0.01]
    full = {name: table({(0, f, 0): [mean + each] * 2 for f, each in enumerate(run)}) for name, mean in effect.items()}
    gaps = full | {"b": full["b"].drop(index=(0, 1, 0))}
    found = adjusted_means(gaps)
    assert found["b"] - found["a"] == pytest.approx(0.01, abs=1e-4)
    assert found["a"] - found["c"] == pytest.approx(0.1, abs=1e-4)
    alone = adjusted_means({"a": full["a"], "x": table({(9, 9, 9): [0.4, 0.4]})})
    assert alone["x"] == pytest.approx(0.4, abs=1e-4), "a strategy without common runs keeps its own mean"


def test_tiers_separate_only_what_is_decided() -> None:
    scores = {"a": noisy(0.9, 0), "b": noisy(0.9, 1), "c": noisy(0.7, 2), "d": noisy(0.7, 3), "e": noisy(0.3, 4)}
    assert tiers(list(scores), all_pairs(scores), sets=False) == [1, 1, 2, 2, 3]
    few = {name: each.iloc[:4] for name, each in scores.items()}
    assert tiers(list(few), all_pairs(few), sets=False) == [1] * 5, "four runs decide nothing"
    equal = noisy(0.8, 0)
    assert tiers(["a", "b"], all_pairs({"a": equal, "b": equal - 0.00002}), sets=False) == [1, 1], "printed as +0.0000"
    assert tiers(["a", "b"], all_pairs({"a": equal, "b": equal.iloc[:5]}), sets=False) == [1, 1]
    assert tiers([], {}, sets=False) == []


POINTS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=8)


@given(POINTS)
def test_pareto_front_has_the_points_that_no_point_dominates(points: list[tuple[int, int]]) -> None:
    """With the same runs everywhere, the front is that of the means."""
    run = (0, 0, 0)
    scores = {str(n): table({run: [gain / 10]}) for n, (_, gain) in enumerate(points)}
    costs = {str(n): pd.Series([float(cost)], scores[str(n)].index) for n, (cost, _) in enumerate(points)}
    front = pareto_front(costs, all_pairs(scores))
    for n, (cost, gain) in enumerate(points):
        dominated = any((c < cost and g >= gain) or (c <= cost and g > gain) for c, g in points)
        assert front[str(n)] == (not dominated)


def test_networks_that_are_the_same_in_all_shared_runs_are_both_on_the_front() -> None:
    """The further runs of `a` are worse and larger; they do not count against it."""
    a = table({(0, 0, 0): [0.8], (0, 1, 0): [0.5]})
    b = a.iloc[:1]
    costs = {"a": pd.Series([10.0, 99.0], a.index), "b": pd.Series([10.0], b.index)}
    assert pareto_front(costs, all_pairs({"a": a, "b": b})) == {"a": True, "b": True}
    unpaired = table({(7, 0, 0): [0.9]})
    costs["c"] = pd.Series([1.0], unpaired.index)
    assert not pareto_front(costs, all_pairs({"a": a, "b": b, "c": unpaired}))["c"]
    costs = {"a": costs["a"], "b": pd.Series([math.nan], b.index)}
    assert not pareto_front(costs, all_pairs({"a": a, "b": b}))["b"]


def test_suitability_is_the_spread_between_strategies_over_that_within() -> None:
    """Means .8 and .7: sd .0707. Runs ±.01 around them: sd .01414 each. The ratio is 5."""
    scores = {
        "a": table({(0, 0, 0): [0.81], (0, 1, 0): [0.79]}),
        "b": table({(0, 0, 0): [0.71], (0, 1, 0): [0.69]}),
        "single": table({(0, 0, 0): [0.1]}),
    }
    assert suitability(scores) == pytest.approx(5)
    assert math.isnan(suitability({"a": scores["a"], "single": scores["single"]}))
    same = table({(0, 0, 0): [0.8], (0, 1, 0): [0.8]})
    assert math.isnan(suitability({"a": same, "b": same}))


def masks(hd95: list[float], empty: list[str], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"hd95": hd95, "empty": empty, **columns})


def test_empty_masks_rank_worst_and_are_no_part_of_the_mean_distance() -> None:
    """Ten masks: eight with HD95 1 to 8, two empty ones with the diagonal 3, which must not look like a good mask."""
    found = boundary_scores(
        masks([*map(float, range(1, 9)), 3.0, 3.0], [""] * 7 + ["both", "prediction", "reference"], nsd=[0.5] * 10)
    )
    assert found["empty_rate"] == pytest.approx(0.2)
    assert found["hd95_median"] == 5
    assert found["hd95_p90"] == math.inf
    assert found["hd95_nonempty"] == pytest.approx(4.5)
    assert found["nsd"] == pytest.approx(0.5)


def test_missing_surface_dice_is_not_averaged_away() -> None:
    assert math.isnan(boundary_scores(masks([1.0, 2.0], ["", ""], nsd=[0.5, math.nan]))["nsd"])
    assert math.isnan(boundary_scores(masks([1.0, 2.0], ["", ""]))["nsd"])
    assert math.isnan(boundary_scores(masks([1.0], ["prediction"]))["hd95_nonempty"])
