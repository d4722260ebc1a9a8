"""Rankings and targeted dropout, compared with direct computations of the equations."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.models.architecture import Filter
from stampbench.strategies.importance import Scores
from stampbench.strategies.ranking import Ranking


def test_targeted_dropout_equals_algorithm_1_computed_by_hand() -> None:
    """Sorted: b0 .9, a0 .8, a1 .6, c0 .5, b1 .4, b2 .1. Positions: a 2, 3; b 1, 5, 6; c 4. Means: 2.5, 4, 4."""
    ranking = Ranking({"a": (0.8, 0.6), "b": (0.9, 0.4, 0.1), "c": (0.5,)}, normalised=False)
    assert ranking.dropout(0.1) == pytest.approx({"a": 0.0625, "b": 0.1, "c": 0.1})


def test_targeted_dropout_orders_tied_filters_by_layer() -> None:
    """Ties are ordered by layer, then by filter: a0 1, b0 2, a1 3, b1 4, b2 5. Means: 2 and 11/3."""
    ranking = Ranking({"a": (0.7, 0.0), "b": (0.7, 0.0, 0.0)}, normalised=False)
    assert ranking.dropout(0.11) == pytest.approx({"a": 0.06, "b": 0.11})


def test_layer_with_only_dead_filters_ranks_lowest_and_is_not_nan() -> None:
    ranking = Ranking({"a": [0.0, 0.0], "b": [3.0, 4.0]})
    assert ranking.magnitudes["a"] == [0.0, 0.0]
    assert ranking.magnitudes["b"] == pytest.approx([0.6, 0.8])
    assert ranking.lowest(1) == [Filter("a", 0, 0.0)]


@given(
    values=st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]), st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1
    ),
    count=st.integers(1, 30),
    min_filters=st.integers(1, 3),
)
def test_lowest_takes_the_smallest_and_keeps_min_filters_in_every_layer(
    values: dict[str, list[float]], count: int, min_filters: int
) -> None:
    ranking = Ranking(values)
    chosen = ranking.lowest(count, min_filters)
    removable = {layer: max(0, len(each) - min_filters) for layer, each in values.items()}
    assert len(chosen) == min(count, sum(removable.values()))
    for layer, each in values.items():
        taken = [filter for filter in chosen if filter.layer == layer]
        assert len(taken) <= removable[layer]
        rest = [m for index, m in enumerate(ranking.magnitudes[layer]) if index not in {f.channel for f in taken}]
        assert max((filter.score for filter in taken), default=0) <= min(rest, default=1)
        assert len(each) == len(rest) + len(taken)


@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1))
def test_targeted_dropout_is_above_zero_and_at_most_base(values: dict[str, list[float]]) -> None:
    probabilities = Ranking(values).dropout(0.1)
    assert max(probabilities.values()) == pytest.approx(0.1)
    assert min(probabilities.values()) > 0


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.floats(0.001, 1), min_size=2, max_size=5), min_size=1),
    st.sampled_from([1e-15, 1e-6, 1e6]),
)
def test_ranking_does_not_depend_on_the_unit_of_the_scores(values: dict[str, list[float]], unit: float) -> None:
    """Taylor scores may be as small as 1e-9; an absolute summand would flatten them."""
    scaled = {layer: [value * unit for value in each] for layer, each in values.items()}
    for layer, magnitudes in Ranking(scaled).magnitudes.items():
        assert magnitudes == pytest.approx(Ranking(values).magnitudes[layer], rel=1e-9)


@given(
    values=st.dictionaries(st.sampled_from("abcd"), st.lists(st.floats(0.001, 1), min_size=2, max_size=5), min_size=1),
    normalised=st.booleans(),
    data=st.data(),
)
def test_ranking_without_filters_is_the_ranking_of_those_that_are_left(
    values: dict[str, list[float]], normalised: bool, data: st.DataObject
) -> None:
    ranking = Ranking(values, normalised)
    removed = ranking.lowest(data.draw(st.integers(1, 6)))
    left = {layer: list(each) for layer, each in values.items()}
    for layer, channel, _ in sorted(removed, key=lambda filter: -filter.channel):
        del left[layer][channel]
    assert ranking.without(removed) == Ranking(left, normalised)
    if normalised:
        for each in ranking.without(removed).magnitudes.values():
            assert math.hypot(*each) == pytest.approx(1)


def test_positions_of_the_remaining_filters_set_dropout_computed_by_hand() -> None:
    """Before: a0 1, b0 2, a1 3, b1 4; means a 2, b 3. Without b1: b0 1 (its layer's only filter), a0 2, a1 3."""
    ranking = Ranking({"a": [0.9, 0.436], "b": [0.8, 0.3]})
    assert ranking.dropout(0.3) == pytest.approx({"a": 0.3 * 2.5 / 2.5, "b": 0.3})
    remaining = ranking.without([Filter("b", 1)])
    assert remaining.dropout(0.3) == pytest.approx({"a": 0.3, "b": 0.3 * 1 / 2.5})


@given(
    scores=st.dictionaries(
        st.sampled_from(["conv1", "conv2", "conv3"]),
        st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9]), min_size=1),
        min_size=1,
    ),
    count=st.integers(1, 8),
    min_filters=st.integers(1, 3),
)
def test_lowest_takes_filters_in_ascending_order_and_skips_layers_that_are_as_narrow_as_allowed(
    scores: Scores, count: int, min_filters: int
) -> None:
    ranking, remaining = Ranking(scores), {layer: len(values) for layer, values in scores.items()}
    expected: list[Filter] = []
    for filter in ranking.ascending():
        if len(expected) < count and remaining[filter.layer] > min_filters:
            remaining[filter.layer] -= 1
            expected.append(filter)
    assert ranking.lowest(count, min_filters) == expected


def test_with_savings_the_least_magnitude_per_saving_goes_first() -> None:
    ranking = Ranking({"conv1": [0.2, 0.9], "conv2": [0.3, 0.4, 0.5]}, normalised=False)
    assert [filter[:2] for filter in ranking.lowest(1)] == [("conv1", 0)]
    found = ranking.lowest(3, savings={"conv1": 1.0, "conv2": 2.0})  # .2, .9 against .15, .2, .25
    assert [filter[:2] for filter in found] == [("conv2", 0), ("conv1", 0), ("conv2", 1)]
    nothing = ranking.lowest(3, savings={"conv1": 0.0, "conv2": 1.0})
    assert [filter[:2] for filter in nothing] == [("conv2", 0), ("conv2", 1), ("conv1", 0)]


def test_filters_go_together_to_the_next_multiple_of_a_width() -> None:
    """Widths 6 and 4 with multiples of 4: conv1 loses two at once; conv2 has a multiple and would have to lose all."""
    ranking = Ranking({"conv1": [0.5, 0.6, 0.1, 0.9, 0.8, 0.7], "conv2": [0.0, 0.1, 0.2, 0.3]}, normalised=False)
    assert [filter[:2] for filter in ranking.lowest(1, width_multiple=4)] == [("conv1", 2), ("conv1", 0)]
    assert ranking.lowest(9, width_multiple=4) == ranking.lowest(1, width_multiple=4)
    both = ranking.lowest(4, width_multiple=2)  # mean .05 of conv2, then .3 of conv1
    assert [filter[:2] for filter in both] == [("conv2", 0), ("conv2", 1), ("conv1", 2), ("conv1", 0)]
    assert len(ranking.lowest(3, width_multiple=2)) == 2


def test_a_layer_without_activations_beside_one_with_tiny_ones_has_magnitude_zero() -> None:
    assert Ranking({"conv1": [0.0], "conv2": [2e-313]}).magnitudes["conv1"] == [0.0]
