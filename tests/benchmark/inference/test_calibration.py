"""Choice of the training images on which int8 finds its ranges."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.inference.calibration import MOST_IMAGES, CalibrationImages, chosen
from stampbench.datasets.split import Image


def slices(subject: str, number: int) -> list[Image]:
    return [Image(f"{subject}_case", subject, each) for each in range(number)]


def test_slices_of_all_subjects_are_chosen_and_not_those_of_the_first() -> None:
    found = chosen([*slices("a", 100), *slices("b", 100), *slices("c", 3), *slices("d", 100)], most=15)
    assert [(image.subject, image.slice) for image, _ in found] == [
        *[("a", each) for each in (12, 37, 62, 87)], *[("b", each) for each in (12, 37, 62, 87)],
        *[("c", each) for each in (0, 1, 2)], *[("d", each) for each in (12, 37, 62, 87)],
    ]  # fmt: skip


def test_few_images_are_all_chosen_in_their_order() -> None:
    images = [*slices("b", 20), *slices("a", 44)]
    assert chosen(images) == [(image, 0) for image in images]
    assert chosen(images[:5], tiles=3) == [(image, tile) for image in images[:5] for tile in range(3)]
    assert chosen([]) == []


def test_patches_and_subjects_are_spaced() -> None:
    found = chosen([Image(each, each, 0) for each in "abcdefgh"], tiles=10, most=4)
    assert [(image.subject, tile) for image, tile in found] == [("b", 5), ("d", 5), ("f", 5), ("h", 5)]


@given(st.lists(st.integers(0, 9), max_size=80), st.integers(1, 6), st.integers(1, 90))
def test_shares_of_subjects_differ_by_one_at_most_where_they_have_enough(
    subjects: list[int], tiles: int, most: int
) -> None:
    numbers = Counter[int]()
    images = []
    for subject in subjects:
        images.append(Image(f"case {subject}", str(subject), numbers[subject]))
        numbers[subject] += 1
    found = chosen(images, tiles, most)
    assert len(found) == len(set(found)) == min(most, tiles * len(images))
    shares = Counter(image.subject for image, _ in found)
    largest = max(shares.values(), default=0)
    assert all(shares[str(each)] >= min(largest - 1, tiles * number) for each, number in numbers.items())


@pytest.mark.parametrize("patch", [None, (8, 8)])
def test_images_or_their_patches_are_read(patch: tuple[int, ...] | None) -> None:
    dataset = DatasetRequest(name="phantom2d:size=16,cases=40", patch_size=patch).open(None)
    training = dataset.split(None, 0, 5).training
    found = list(CalibrationImages(training, dataset, dataset.prepare))
    assert len(found) == (MOST_IMAGES if patch else len(training))
    image = training[0]
    pixels = torch.from_numpy(dataset.prepare([image.case])[image.case].images[image.slice].copy())
    assert {each.shape for each in found} == {(1, *pixels.shape[:1], *dataset.seen)}
    if patch is None:
        torch.testing.assert_close(found[0][0], pixels)
    else:
        places = [pixels[:, x : x + 8, y : y + 8] for x in (0, 8) for y in (0, 8)]
        assert any(torch.equal(found[0][0], each) for each in places)
