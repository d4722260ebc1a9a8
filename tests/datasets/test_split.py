"""Splits by subject: order by hash, nested training sizes, disjoint sets, and errors instead of fallbacks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Definition, folder_definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.split import Image, Split, _check_disjoint, pool, split

DEFINITION = Definition(name="toy", version="3", summary="")


def singles(count: int) -> list[Image]:
    """Return images of as many subjects, one image each."""
    return [Image(f"case{number:03d}", f"case{number:03d}", 0) for number in range(count)]


def test_test_subjects_are_the_first_quarter_by_sha256() -> None:
    test, available = pool(DEFINITION, singles(20))
    by_hash = sorted(
        (f"case{number:03d}" for number in range(20)),
        key=lambda subject: hashlib.sha256(f"toy\n3\n{subject}".encode()).hexdigest(),
    )
    assert test == by_hash[:5]
    assert {image.subject for image in available} == set(by_hash[5:])


def test_a_definition_can_set_the_number_of_test_subjects() -> None:
    test, available = pool(DEFINITION.model_copy(update={"test_subjects": 10}), singles(20))
    assert (len(test), len(available)) == (10, 10)
    with pytest.raises(DatasetError, match="cannot hold out 20 test subjects"):
        pool(DEFINITION.model_copy(update={"test_subjects": 20}), singles(20))


@given(
    sizes=st.lists(st.integers(1, 5), min_size=12, max_size=40),
    n_train=st.integers(10, 30),
    folds=st.integers(2, 5),
)
def test_sets_share_no_subject_and_every_image_validates_once(sizes: list[int], n_train: int, folds: int) -> None:
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


def test_training_sizes_are_nested_and_five_folds_divide_80_to_20() -> None:
    images = singles(200)
    for fold in range(5):
        small, large = (split(DEFINITION, images, size, fold, 5) for size in (25, 50))
        assert {*small.training, *small.validation} < {*large.training, *large.validation}
        assert (len(small.training), len(small.validation)) == (20, 5)
        assert (len(large.training), len(large.validation)) == (40, 10)


def test_training_sets_are_other_draws_with_the_same_test_set() -> None:
    """Set 1 is ordered by the hash of `training set 1` and the image's id."""
    images = singles(40)
    test, first = pool(DEFINITION, images)
    other_test, second = pool(DEFINITION, images, 1)
    assert other_test == test
    assert set(second) == set(first)
    by_hash = sorted(
        first, key=lambda image: hashlib.sha256(f"toy\n3\ntraining set 1\n{image.id}".encode()).hexdigest()
    )
    assert second == by_hash
    drawn = [split(DEFINITION, images, 10, 0, 5, number) for number in range(6)]
    assert len({frozenset((*each.training, *each.validation)) for each in drawn}) == 6
    assert {each.test for each in drawn} == {drawn[0].test}
    assert split(DEFINITION, images, 10, 0, 5) == drawn[0]


def test_all_images_have_one_training_set_only() -> None:
    for n_train in (None, 30):
        with pytest.raises(DatasetError, match="all 30 training images are used, so training set 0 is the only one"):
            split(DEFINITION, singles(40), n_train, 0, 5, 1)


def test_draws_are_independent() -> None:
    """Two sets of 20 of 60 images share 20 · 20/60 = 6.7 on average; the mean over 45 pairs varies by about .25."""
    sets = [set(pool(DEFINITION, singles(80), number)[1][:20]) for number in range(10)]
    shared = [len(one & other) for number, one in enumerate(sets) for other in sets[:number]]
    assert sum(shared) / len(shared) == pytest.approx(20 * 20 / 60, abs=1.2)


def test_version_2_depends_on_ids_alone() -> None:
    """The same data under two names has the same test subjects and training sets; version 1 keeps its order."""
    one, other = (Definition(name=name, summary="", split_version=2) for name in ("busi", "Dataset502_BUSI128"))
    for number in (0, 1):
        assert pool(one, singles(40), number) == pool(other, singles(40), number)
        assert split(one, singles(40), 10, 0, 5, number) == split(other, singles(40), 10, 0, 5, number)
    by_hash = sorted(
        (image.subject for image in singles(40)),
        key=lambda subject: hashlib.sha256(f"split version 2\n{subject}".encode()).hexdigest(),
    )
    assert pool(one, singles(40))[0] == by_hash[:10]
    old = [each.model_copy(update={"split_version": 1}) for each in (one, other)]
    assert pool(old[0], singles(40))[0] != pool(old[1], singles(40))[0]


def test_named_datasets_keep_version_1_and_folders_have_version_2(tmp_path: Path) -> None:
    assert {definition.split_version for definition in CATALOGUE.values()} == {1}
    assert folder_definition(tmp_path).split_version == 2


def test_the_order_of_the_images_does_not_matter() -> None:
    images = singles(40)
    assert split(DEFINITION, images, 20, 1, 5).training == split(DEFINITION, images[::-1], 20, 1, 5).training


@pytest.mark.parametrize(
    ("count", "n_train", "fold", "folds", "message", "setting"),
    [
        (4, None, 0, 5, "'toy': 3 training subjects cannot be split into 5 folds; use 2 to 3 folds", "folds"),
        (3, None, 0, 5, "2 training subjects cannot be split into 5 folds; use 2 folds", "folds"),
        (40, 4, 0, 5, "4 training subjects in the first 4 images", "folds"),
        (40, 1, 0, 5, "1 training subjects in the first 1 images .*; request more training images", "n_train"),
        (
            40,
            31,
            0,
            5,
            "31 training images requested, but only 30 are available .*request 2 to 30, or all",
            "n_train",
        ),
        (40, None, 5, 5, "no fold 5; there are folds 0 to 4", None),
        (40, None, -1, 5, "no fold -1", None),
        (2, None, 0, 5, "add cases", None),
        (1, None, 0, 5, "cannot hold out 1 test subjects, it has only 1 subjects", None),
    ],
)
def test_impossible_splits_are_refused(
    count: int, n_train: int | None, fold: int, folds: int, message: str, setting: str | None
) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        split(DEFINITION, singles(count), n_train, fold, folds)
    assert raised.value.setting == setting
    assert "--" not in str(raised.value)


def test_a_subject_in_two_sets_is_refused() -> None:
    """`split` never makes such a split; the check guards against future changes of it."""
    a, b = Image("a1", "a", 0), Image("b", "b", 0)
    for overlapping, test in (
        (Split((), (a, b), (a,)), set()),
        (Split((), (a,), (b,)), {"b"}),
        (Split((), (a,), ()), {"a"}),
    ):
        with pytest.raises(DatasetError, match="is in more than one of training, validation and test set"):
            _check_disjoint(DEFINITION, overlapping, test)


@given(
    subjects=st.lists(st.integers(1, 2), min_size=8, max_size=20),
    folds=st.integers(2, 5),
    version=st.sampled_from([1, 2]),
)
def test_cross_validation_tests_every_case_once_and_trains_on_equally_many(
    subjects: list[int], folds: int, version: int
) -> None:
    """`subjects` holds the number of each subject's images."""
    images = [
        Image(f"c{number}_{position}", f"s{number}", 0)
        for number, count in enumerate(subjects)
        for position in range(count)
    ]
    definition = DEFINITION.model_copy(update={"split_version": version})
    splits = [split(definition, images, None, fold, folds, kind="cross_validation") for fold in range(folds)]
    assert sorted(case for each in splits for case in each.test) == sorted(image.case for image in images)
    assert len({len(each.training) + len(each.validation) for each in splits}) == 1
    for each in splits:
        tested = {image.subject for image in images if image.case in each.test}
        training, validation = ({image.subject for image in part} for part in (each.training, each.validation))
        assert not tested & training
        assert not tested & validation
        assert not training & validation
        assert training
        assert validation


def test_cross_validation_takes_the_first_images_and_another_draw_for_another_training_set() -> None:
    images = singles(50)
    small, large = (split(DEFINITION, images, n, 1, 5, kind="cross_validation") for n in (10, 20))
    assert small.test == large.test
    assert {*small.training, *small.validation} < {*large.training, *large.validation}
    other = split(DEFINITION, images, 10, 1, 5, training_set=1, kind="cross_validation")
    assert other.test == small.test
    assert {*other.training, *other.validation} != {*small.training, *small.validation}
    with pytest.raises(DatasetError, match="request 2 to 40, or all"):
        split(DEFINITION, images, 41, 1, 5, kind="cross_validation")
