"""Splits: by subject, by hash, nested, and never a fallback."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.split import Image, Split, _check_disjoint, pool, split

DEFINITION = Definition(name="toy", version="3", summary="")


def singles(count: int) -> list[Image]:
    return [Image(f"case{number:03d}", f"case{number:03d}", 0) for number in range(count)]


def test_test_subjects_are_the_first_quarter_by_sha256() -> None:
    test, rest = pool(DEFINITION, singles(20))
    by_hash = sorted(
        (f"case{number:03d}" for number in range(20)),
        key=lambda subject: hashlib.sha256(f"toy\n3\n{subject}".encode()).hexdigest(),
    )
    assert test == by_hash[:5]
    assert {image.subject for image in rest} == set(by_hash[5:])


def test_definitions_may_fix_the_number_of_test_subjects() -> None:
    test, rest = pool(DEFINITION.model_copy(update={"test_subjects": 10}), singles(20))
    assert (len(test), len(rest)) == (10, 10)
    with pytest.raises(DatasetError, match="20 test subjects"):
        pool(DEFINITION.model_copy(update={"test_subjects": 20}), singles(20))


@given(
    sizes=st.lists(st.integers(1, 5), min_size=12, max_size=40),
    n_train=st.integers(10, 30),
    folds=st.integers(2, 5),
)
def test_subjects_stay_on_one_side_and_folds_share_all(sizes: list[int], n_train: int, folds: int) -> None:
    images = [Image(f"c{s}", f"s{s}", i) for s, size in enumerate(sizes) for i in range(size)]
    test, available = pool(DEFINITION, images)
    n_train = min(n_train, len(available))
    chosen = available[:n_train]
    if len({image.subject for image in chosen}) < folds:
        with pytest.raises(DatasetError, match="cannot be split"):
            split(DEFINITION, images, n_train, 0, folds)
        return
    validated: list[Image] = []
    for fold in range(folds):
        result = split(DEFINITION, images, n_train, fold, folds)
        sides = [{image.subject for image in side} for side in (result.training, result.validation)]
        assert not sides[0] & sides[1]
        assert not (sides[0] | sides[1]) & set(test)
        assert {case.replace("c", "s") for case in result.test} == set(test)
        assert sorted(result.training + result.validation) == sorted(chosen)
        assert result.training
        assert result.validation
        validated += result.validation
    assert sorted(validated) == sorted(chosen)


def test_training_sizes_are_nested_and_folds_are_80_to_20() -> None:
    images = singles(200)
    for fold in range(5):
        small, large = (split(DEFINITION, images, size, fold, 5) for size in (25, 50))
        assert {*small.training, *small.validation} < {*large.training, *large.validation}
        assert (len(small.training), len(small.validation)) == (20, 5)
        assert (len(large.training), len(large.validation)) == (40, 10)


def test_order_of_files_does_not_matter() -> None:
    images = singles(40)
    assert split(DEFINITION, images, 20, 1, 5).training == split(DEFINITION, images[::-1], 20, 1, 5).training


@pytest.mark.parametrize(
    ("count", "n_train", "fold", "folds", "message"),
    [
        (4, None, 0, 5, "3 training subjects cannot be split into 5 folds; --protocol-set folds=3 or fewer"),
        (40, 4, 0, 5, "4 training subjects in the first 4 images"),
        (40, 31, 0, 5, "31 training images asked for, but only 30 are left"),
        (40, None, 5, 5, "no fold 5; there are folds 0 to 4"),
        (40, None, -1, 5, "no fold -1"),
        (2, None, 0, 5, "add cases"),
        (1, None, 0, 5, "1 test subjects are held out, but there are 1 subjects"),
    ],
)
def test_what_cannot_be_split_is_an_error(count: int, n_train: int | None, fold: int, folds: int, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        split(DEFINITION, singles(count), n_train, fold, folds)


def test_a_subject_on_two_sides_is_found() -> None:
    """The split cannot make one; whoever changes it shall not either."""
    a, b = Image("a1", "a", 0), Image("b", "b", 0)
    for overlapping, test in (
        (Split((), (a, b), (a,)), set()),
        (Split((), (a,), (b,)), {"b"}),
        (Split((), (a,), ()), {"a"}),
    ):
        with pytest.raises(DatasetError, match="on two sides"):
            _check_disjoint(DEFINITION, overlapping, test)
