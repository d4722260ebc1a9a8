"""Problems of a dataset that show when its cases are compared: duplicates, spacing, classes, subjects, unused files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stampbench.datasets.dataset_json import suspected_pattern
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.image_io import endings, spacing_lost
from stampbench.datasets.preparation.duplicates import REMEDY, find_duplicates
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.quality.issue import CaseStatistics, QualityIssue
from stampbench.datasets.readers.reader import CaseReader
from stampbench.datasets.split import Image, pool

_PLAUSIBLE_SPACING = (0.05, 20.0)
"""Smallest and largest plausible voxel size in mm; others suggest that the file uses a different unit."""
_FOLDS = 5
"""Number of folds that there should be enough subjects for: that of the papers' protocol."""


def compare_cases(
    definition: Definition,
    reader: CaseReader,
    config: PreprocessingConfig | None,
    cases: Sequence[CaseStatistics],
) -> list[QualityIssue]:
    """Return the problems that show when cases are compared.

    Args:
        definition: The dataset's definition.
        reader: Reader of its cases.
        config: How cases are prepared; None: unknown.
        cases: Statistics of the cases that can be read.
    """
    return [
        *_compare_statistics(reader, cases),
        *_find_cropped_foreground(config, cases),
        *_find_unused_files(reader),
        *_find_incomplete_subjects(reader),
        *_check_subjects(definition, reader),
    ]


def _compare_statistics(reader: CaseReader, cases: Sequence[CaseStatistics]) -> Iterator[QualityIssue]:
    """Yield issues with intensities, spacing and classes, and with images that occur twice."""
    if len({len(case.shape) for case in cases}) > 1:
        yield QualityIssue("error", "some images are 2D, others are 3D")
        return
    unit = "mm" if cases and len(cases[0].shape) == 3 else "px"
    for case in cases:
        for name in case.constant:
            yield QualityIssue("warning", f"channel '{name}' has the same value everywhere", cases=(case.id,))
        for name in case.flattened:
            text = f"channel '{name}' has a few extreme values, and normalisation leaves no contrast to the others"
            yield QualityIssue("warning", text, cases=(case.id,))
        if unit == "mm" and not all(_PLAUSIBLE_SPACING[0] <= edge <= _PLAUSIBLE_SPACING[1] for edge in case.spacing):
            edges = " × ".join(f"{edge:g}" for edge in case.spacing)
            yield QualityIssue("warning", f"implausible voxel size of {edges} mm", cases=(case.id,))
    yield from _find_duplicates(cases)
    if unit == "mm" and spacing_lost((case.shape for case in cases), (case.spacing for case in cases)):
        flattest = min(cases, key=lambda case: min(case.shape) / max(case.shape))
        yield QualityIssue(
            "warning",
            f"every case has voxels of 1 mm, but sizes such as {'×'.join(map(str, flattest.shape))} suggest thick "
            "slices: the spacing was lost, and distances are in voxels",
        )
    for index, name in enumerate(reader.classes):
        if cases and not any(case.voxels[index] for case in cases):
            yield QualityIssue("warning", f"class '{name}' does not occur in any case")


def _find_duplicates(cases: Sequence[CaseStatistics]) -> Iterator[QualityIssue]:
    """Yield an issue for each image that several cases share."""
    for same, different_subjects in find_duplicates((case.id, case.subject, case.digest) for case in cases):
        ids = ", ".join(f"'{case}'" for case in same)
        if different_subjects:
            yield QualityIssue(
                "error",
                f"cases {ids} have the same image but different subjects: an image may be in both the training "
                f"and the test set; {REMEDY}",
                "subject_pattern",
            )
        else:
            yield QualityIssue("warning", f"cases {ids} have the same image and the same subject")


def _find_unused_files(reader: CaseReader) -> Iterator[QualityIssue]:
    """Yield an issue if there are images without a label map, or label maps without an image."""
    used, folders = set[Path](), Counter[Path]()
    for case in reader.cases:
        files = reader.files(case)
        used.update(files)
        folders.update({path.parent for path in files})
    # A folder that belongs to a single case may contain all kinds of other files of that case.
    shared = [folder for folder, cases in folders.items() if cases > 1]
    unused = sorted(
        path for folder in shared for path in folder.iterdir() if path not in used and path.name.endswith(endings())
        and not path.name.startswith(".")
    )  # fmt: skip
    if unused:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in unused[:3])
        more = ", …" if len(unused) > 3 else ""
        yield QualityIssue(
            "warning", f"{len(unused)} files belong to no case because an image or a label is missing: {names}{more}"
        )


def _find_incomplete_subjects(reader: CaseReader) -> Iterator[QualityIssue]:
    """Yield an issue if a few subjects have more or fewer cases than most."""
    numbers = Counter(case.subject for case in reader.cases)
    usual, subjects = Counter(numbers.values()).most_common(1)[0]
    if usual > 1 and subjects < len(numbers) <= 1.25 * subjects:
        odd = [subject for subject, number in numbers.items() if number != usual]
        yield QualityIssue("warning", f"most subjects have {usual} cases, but not {', '.join(odd[:5])}")


def _check_subjects(definition: Definition, reader: CaseReader) -> Iterator[QualityIssue]:
    """Yield issues with the assignment of cases to subjects, and with the number of subjects."""
    if (pattern := suspected_pattern(reader.cases)) is not None:
        yield QualityIssue(
            "warning",
            f"case ids such as '{reader.cases[0].id}' look like several images of a subject, but every case counts as "
            f"a subject of its own; the subject pattern '{pattern}' keeps them on one side of the split",
            "subject_pattern",
        )
    try:
        test, training = pool(definition, [Image(case.id, case.subject, 0) for case in reader.cases])
    except DatasetError as error:
        yield QualityIssue("error", str(error), error.setting)
        return
    subjects = {image.subject for image in training}
    if len(subjects) < _FOLDS:
        yield QualityIssue(
            "warning",
            f"{len(subjects)} training subjects besides {len(test)} test subjects are too few for {_FOLDS} folds; "
            f"use {max(len(subjects), 2)} folds",
            "folds",
        )


def _find_cropped_foreground(
    config: PreprocessingConfig | None, cases: Sequence[CaseStatistics]
) -> Iterator[QualityIssue]:
    """Yield an issue if networks do not see the whole foreground; `crop` cuts files before, and on purpose."""
    if config is None or not any(case.outside for case in cases):
        return
    worst = max(cases, key=lambda case: case.outside)
    share = np.mean([case.outside for case in cases if sum(case.voxels[1:])])
    yield QualityIssue(
        "warning",
        f"{share:.1%} of the foreground lies outside the {'×'.join(map(str, config.size))} around the centre to which "
        f"images are cropped ({worst.outside:.0%} in case '{worst.id}'); the fit 'resize' keeps images whole",
        "fit",
    )
