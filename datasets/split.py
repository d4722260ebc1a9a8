"""Split images into test, training and validation sets by subject, in an order given by hashes.

Subjects are sorted by SHA-256(dataset name, version, subject); the first ones are the test subjects. The images of the
other subjects are sorted by SHA-256(dataset name, version, image), and training size N means the first N of them, so
that the 25 images of N = 25 are among the 50 of N = 50. A training set K > 0 is another draw of N images: K becomes
part of the hashed text, and the test subjects stay the same. These images are divided into k folds by subject: one fold
validates, the others train. Validation labels thus count as labels, as in Dinsdale et al. 2022, §2.5.1.

Cross-validation holds out no subjects for all folds; instead, all subjects are divided into k folds, and fold number k
is the test set of run k, so that every case is tested once (Celaya et al. 2022, §3). The images of the other folds are
the ones to train with; they are divided into k − 1 parts by subject (at least two), and the first part validates.

Version 2 of the split hashes ids without the dataset's name and version, so that the same data under two names has the
same split (`Definition.split_version`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError

_TEST_SHARE = 0.25


class Image(NamedTuple):
    """A network input: a whole case, or one slice of it.

    Attributes:
        case: Case id.
        subject: Subject id.
        slice: Index of the slice; 0 if the case is not sliced.
    """

    case: str
    subject: str
    slice: int

    @property
    def id(self) -> str:
        """Id of the image within its dataset."""
        return f"{self.case}/{self.slice}"


class Split(NamedTuple):
    """The split for one fold.

    Attributes:
        test: Ids of the test cases.
        training: Images of the training folds.
        validation: Images of the validation fold.
    """

    test: tuple[str, ...]
    training: tuple[Image, ...]
    validation: tuple[Image, ...]


SplitKind = Literal["held_out", "cross_validation"]
"""Whether the same subjects are held out for testing in every fold, or every fold tests other subjects."""


def pool(definition: Definition, images: Sequence[Image], training_set: int = 0) -> tuple[list[str], list[Image]]:
    """Return the test subjects, and the images of all other subjects in the order in which a training set takes them.

    Args:
        definition: The dataset's definition.
        images: All images of the dataset.
        training_set: Number of the training set, from 0.

    Raises:
        DatasetError: when there are not more subjects than have to be held out for testing.
    """
    subjects = _in_order(definition, images)
    named = _named_test_subjects(definition, images)
    subjects.sort(key=lambda subject: subject not in named)  # stable: the order of the others stays
    held_out = len(named) or definition.test_subjects or max(1, round(len(subjects) * _TEST_SHARE))
    if held_out >= len(subjects):
        raise DatasetError(
            f"dataset '{definition.name}': cannot hold out {held_out} test subjects, it has only {len(subjects)} "
            "subjects; add cases"
        )
    test = subjects[:held_out]
    return test, _available(definition, images, test, training_set)


def _named_test_subjects(definition: Definition, images: Sequence[Image]) -> set[str]:
    """Return the subjects of the definition's test cases."""
    subjects = {image.case: image.subject for image in images}
    if absent := [case for case in definition.test_cases if case not in subjects]:
        raise DatasetError(f"dataset '{definition.name}': test case '{absent[0]}' is no case of the dataset")
    return {subjects[case] for case in definition.test_cases}


def split(
    definition: Definition,
    images: Sequence[Image],
    n_train: int | None,
    fold: int,
    folds: int,
    training_set: int = 0,
    kind: SplitKind = "held_out",
) -> Split:
    """Return the split for one fold.

    Args:
        definition: The dataset's definition, which determines the order of subjects and images.
        images: All images of the dataset.
        n_train: Number of training and validation images together; None: all images of subjects that are not held
            out for testing; with cross-validation, as many as every fold has.
        fold: Index of the fold, from 0: the one that validates or, with cross-validation, the one that is tested.
        folds: Number of folds.
        training_set: Number of the training set, from 0: one draw of `n_train` images.
        kind: How test subjects are chosen.

    Raises:
        DatasetError: when `n_train` exceeds the available images, `fold` does not exist, there are fewer subjects
            than folds, or another training set than 0 is requested of all images.
    """
    if not 0 <= fold < folds:
        raise DatasetError(f"dataset '{definition.name}': no fold {fold}; there are folds 0 to {folds - 1}")
    validating, parts = fold, folds
    if kind == "cross_validation":
        test, available = _tested_fold(definition, images, fold, folds, training_set)
        validating, parts = 0, max(2, folds - 1)
    else:
        test, available = pool(definition, images, training_set)
    chosen = available if n_train is None else available[:n_train]
    subjects = list(dict.fromkeys(image.subject for image in chosen))
    _check_folds(definition, len(subjects), parts, n_train if len(chosen) < len(available) else None)
    if n_train is not None and n_train > len(available):
        raise DatasetError(
            f"dataset '{definition.name}': {n_train} training images requested, but only {len(available)} are "
            f"available besides {len(test)} test subjects; request 2 to {len(available)}, or all",
            setting="n_train",
        )
    if training_set and len(chosen) == len(available):
        raise DatasetError(
            f"dataset '{definition.name}': all {len(available)} training images are used, so training set 0 is the "
            f"only one, not {training_set}; request fewer training images",
            setting="n_train",
        )
    fold_of = _assign_folds(chosen, subjects, parts)
    result = Split(
        tuple(dict.fromkeys(image.case for image in images if image.subject in test)),
        tuple(image for image in chosen if fold_of[image.subject] != validating),
        tuple(image for image in chosen if fold_of[image.subject] == validating),
    )
    _check_disjoint(definition, result, set(test))
    return result


def _tested_fold(
    definition: Definition, images: Sequence[Image], fold: int, folds: int, training_set: int
) -> tuple[list[str], list[Image]]:
    """Return the subjects of one fold of all subjects, and the images of the others; equally many for every fold."""
    subjects = _in_order(definition, images)
    _check_folds(definition, len(subjects), folds, None)
    fold_of = _assign_folds(images, subjects, folds)
    sizes = Counter(fold_of[image.subject] for image in images)
    test = [subject for subject in subjects if fold_of[subject] == fold]
    # Equally many, because leaderboards do not mix training sizes.
    return test, _available(definition, images, test, training_set)[: len(images) - max(sizes.values())]


def _in_order(definition: Definition, images: Sequence[Image]) -> list[str]:
    return sorted({image.subject for image in images}, key=lambda subject: _hash_key(definition, subject))


def _available(definition: Definition, images: Sequence[Image], test: Sequence[str], training_set: int) -> list[Image]:
    """Return the images that are not tested, in the order in which a training set takes them."""
    tested, prefix = set(test), f"training set {training_set}\n" if training_set else ""
    available = [image for image in images if image.subject not in tested]
    return sorted(available, key=lambda image: _hash_key(definition, f"{prefix}{image.id}"))


def _check_folds(definition: Definition, subjects: int, folds: int, n_train: int | None) -> None:
    """Raise an error unless the training subjects can be divided into folds; `n_train` of None: all images are used."""
    if 2 <= folds <= subjects:
        return
    within = f" in the first {n_train} images" if n_train is not None else ""
    problem = f"dataset '{definition.name}': {subjects} training subjects{within} cannot be split into {folds} folds"
    if subjects >= 2:
        allowed = "2" if subjects == 2 else f"2 to {subjects}"
        raise DatasetError(f"{problem}; use {allowed} folds", setting="folds")
    if n_train is not None:
        raise DatasetError(f"{problem}; request more training images", setting="n_train")
    raise DatasetError(f"{problem}; add cases")


def _assign_folds(images: Sequence[Image], subjects: Sequence[str], folds: int) -> dict[str, int]:
    """Return the fold of each subject; subjects in order join the fold that has the fewest images so far."""
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
        raise DatasetError(
            f"dataset '{definition.name}': subject '{min(overlap)}' is in more than one of training, validation and "
            "test set"
        )


def _hash_key(definition: Definition, key: str) -> str:
    prefix = f"{definition.name}\n{definition.version}" if definition.split_version == 1 else "split version 2"
    return hashlib.sha256(f"{prefix}\n{key}".encode()).hexdigest()
