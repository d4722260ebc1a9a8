"""Split images into test, training and validation sets by subject, in an order given by hashes.

Subjects are sorted by SHA-256(dataset name, version, subject); the first ones are the test subjects. The images of the
other subjects are sorted by SHA-256(dataset name, version, image), and training size N means the first N of them, so
that the 25 images of N = 25 are among the 50 of N = 50. A training set K > 0 is another draw of N images: K becomes
part of the hashed text, and the test subjects stay the same. These images are divided into k folds by subject: one fold
validates, the others train. Validation labels thus count as labels, as in Dinsdale et al. 2022, §2.5.1.

Version 2 of the split hashes ids without the dataset's name and version, so that the same data under two names has the
same split (`Definition.split_version`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

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


def pool(definition: Definition, images: Sequence[Image], training_set: int = 0) -> tuple[list[str], list[Image]]:
    """Return the test subjects, and the images of all other subjects in the order in which a training set takes them.

    Args:
        definition: The dataset's definition.
        images: All images of the dataset.
        training_set: Number of the training set, from 0.

    Raises:
        DatasetError: when there are not more subjects than have to be held out for testing.
    """
    subjects = sorted({image.subject for image in images}, key=lambda subject: _hash_key(definition, subject))
    held_out = definition.test_subjects or max(1, round(len(subjects) * _TEST_SHARE))
    if held_out >= len(subjects):
        raise DatasetError(
            f"dataset '{definition.name}': cannot hold out {held_out} test subjects, it has only {len(subjects)} "
            "subjects; add cases"
        )
    test = subjects[:held_out]
    available = [image for image in images if image.subject not in test]
    prefix = f"training set {training_set}\n" if training_set else ""
    return test, sorted(available, key=lambda image: _hash_key(definition, f"{prefix}{image.id}"))


def split(
    definition: Definition,
    images: Sequence[Image],
    n_train: int | None,
    fold: int,
    folds: int,
    training_set: int = 0,
) -> Split:
    """Return the split for one fold.

    Args:
        definition: The dataset's definition, which determines the order of subjects and images.
        images: All images of the dataset.
        n_train: Number of training and validation images together; None: all images of subjects that are not held
            out for testing.
        fold: Index of the fold that validates, from 0.
        folds: Number of folds.
        training_set: Number of the training set, from 0: one draw of `n_train` images.

    Raises:
        DatasetError: when `n_train` exceeds the available images, `fold` does not exist, there are fewer subjects
            than folds, or another training set than 0 is requested of all images.
    """
    test, available = pool(definition, images, training_set)
    chosen = available if n_train is None else available[:n_train]
    subjects = list(dict.fromkeys(image.subject for image in chosen))
    _check_folds(definition, len(subjects), folds, n_train if len(chosen) < len(available) else None)
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
    if not 0 <= fold < folds:
        raise DatasetError(f"dataset '{definition.name}': no fold {fold}; there are folds 0 to {folds - 1}")
    fold_of = _assign_folds(chosen, subjects, folds)
    result = Split(
        tuple(dict.fromkeys(image.case for image in images if image.subject in test)),
        tuple(image for image in chosen if fold_of[image.subject] != fold),
        tuple(image for image in chosen if fold_of[image.subject] == fold),
    )
    _check_disjoint(definition, result, set(test))
    return result


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
