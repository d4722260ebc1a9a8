"""Who tests, who trains, who validates: always by subject, always by hash, never by chance.

Test subjects come first in the order of SHA-256(dataset, version, subject). Of the images of the others,
the first N in the same kind of order are the training size N (so 25 lies within 50); k folds share
their subjects, one fold validates and the rest train: validation labels count as labels, as in
Dinsdale et al. 2022, §2.5.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError

_TEST_SHARE = 0.25


class Image(NamedTuple):
    """One image that a network sees: a case (slice 0), or one of its slices."""

    case: str
    subject: str
    slice: int

    @property
    def id(self) -> str:
        return f"{self.case}/{self.slice}"


class Split(NamedTuple):
    """Test case ids, and the images of one fold."""

    test: tuple[str, ...]
    training: tuple[Image, ...]
    validation: tuple[Image, ...]


def pool(definition: Definition, images: Sequence[Image]) -> tuple[list[str], list[Image]]:
    """Test subjects, and all images of the others in training order.

    Raises:
        DatasetError: too few subjects for the held-out test set.
    """
    subjects = sorted({image.subject for image in images}, key=lambda subject: _order(definition, subject))
    held_out = definition.test_subjects or max(1, round(len(subjects) * _TEST_SHARE))
    if held_out >= len(subjects):
        raise DatasetError(
            f"{definition.name}: {held_out} test subjects are held out, but there are {len(subjects)} subjects in all"
        )
    test = subjects[:held_out]
    rest = [image for image in images if image.subject not in test]
    return test, sorted(rest, key=lambda image: _order(definition, image.id))


def split(definition: Definition, images: Sequence[Image], n_train: int | None, fold: int, folds: int) -> Split:
    """The split for one fold of `folds`, with `n_train` training and validation images together, or all.

    Raises:
        DatasetError: more images asked for than there are, an absent fold, fewer subjects than folds.
    """
    test, available = pool(definition, images)
    chosen = available if n_train is None else available[:n_train]
    subjects = list(dict.fromkeys(image.subject for image in chosen))
    if not 2 <= folds <= len(subjects):
        chosen_of = f" in the first {n_train} images" if n_train is not None and n_train < len(available) else ""
        raise DatasetError(
            f"{definition.name}: {len(subjects)} training subjects{chosen_of} cannot be split into {folds} folds; "
            + (f"--protocol-set folds={len(subjects)} or fewer (at least 2) can" if len(subjects) > 1 else "add cases")
        )
    if n_train is not None and n_train > len(available):
        raise DatasetError(
            f"{definition.name}: {n_train} training images asked for, but only {len(available)} are left beside "
            f"{len(test)} test subjects; --n-train takes 2 to {len(available)}, or all"
        )
    if not 0 <= fold < folds:
        raise DatasetError(f"{definition.name}: no fold {fold}; there are folds 0 to {folds - 1}")
    fold_of = _assign(chosen, subjects, folds)
    result = Split(
        tuple(dict.fromkeys(image.case for image in images if image.subject in test)),
        tuple(image for image in chosen if fold_of[image.subject] != fold),
        tuple(image for image in chosen if fold_of[image.subject] == fold),
    )
    _check_disjoint(definition, result, set(test))
    return result


def _assign(images: Sequence[Image], subjects: Sequence[str], folds: int) -> dict[str, int]:
    """Each subject, in order, joins the fold that has the fewest images so far."""
    counts = {subject: sum(image.subject == subject for image in images) for subject in subjects}
    sizes = [0] * folds
    fold_of = {}
    for subject in subjects:
        fold_of[subject] = sizes.index(min(sizes))
        sizes[fold_of[subject]] += counts[subject]
    return fold_of


def _check_disjoint(definition: Definition, split: Split, test: set[str]) -> None:
    training = {image.subject for image in split.training}
    validation = {image.subject for image in split.validation}
    if overlap := (training & validation) | (training & test) | (validation & test):
        raise DatasetError(f"{definition.name}: subject '{min(overlap)}' is on two sides of the split")


def _order(definition: Definition, key: str) -> str:
    return hashlib.sha256(f"{definition.name}\n{definition.version}\n{key}".encode()).hexdigest()
