"""Quality control: find faulty files, labels, subjects and splits of a dataset before training."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.dataset_json import Case, suspected_pattern
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.image_io import IMAGES, spacing_lost
from stampbench.datasets.preprocessing import oriented_to_ras
from stampbench.datasets.readers import CaseReader
from stampbench.datasets.split import Image, pool
from stampbench.datasets.threads import in_threads

_PANELS = 12
"""Number of cases in the overview."""
_PLAUSIBLE_SPACING = (0.05, 20.0)
"""Smallest and largest plausible voxel size in mm; others suggest that the file uses a different unit."""
_FOLDS = 5
"""Number of folds that there should be enough subjects for: that of the papers' protocol."""


class QualityIssue(NamedTuple):
    """A problem of a dataset.

    Attributes:
        level: An error makes results wrong or a run impossible; a warning should be inspected.
        text: The problem in one line.
        setting: Name of the setting that a user can change to mend it, `subject_pattern` or `folds`; None: none.
    """

    level: Literal["error", "warning"]
    text: str
    setting: str | None = None


class CaseStatistics(NamedTuple):
    """Statistics of a case, with axes in RAS order.

    Attributes:
        id: Case id.
        subject: Subject id.
        shape: Spatial shape in voxels.
        spacing: Voxel size in mm, or 1 per axis for 2D images.
        lowest: Lowest intensity of all channels.
        highest: Highest intensity of all channels.
        constant: Names of the channels that have a single value.
        voxels: Number of voxels by class index.
        digest: SHA-256 checksum of the image's shape and voxels.
    """

    id: str
    subject: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    lowest: float
    highest: float
    constant: tuple[str, ...]
    voxels: tuple[int, ...]
    digest: str


class OverviewPanel(NamedTuple):
    """A slice of a case for visual inspection.

    Attributes:
        title: Case id and, for a volume, the index of the slice.
        image: First channel `(rows, columns)`.
        label: Class indices `(rows, columns)`.
        aspect: Height of a row divided by the width of a column.
    """

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    aspect: float


class QualityReport(NamedTuple):
    """Result of quality control.

    Attributes:
        cases: Statistics of the cases that could be read.
        findings: Problems that were found.
        panels: Slices of up to 12 cases for visual inspection.
    """

    cases: list[CaseStatistics]
    findings: list[QualityIssue]
    panels: list[OverviewPanel]


def check_dataset(
    definition: Definition, reader: CaseReader, report: Callable[[int, int], None] = lambda done, total: None
) -> QualityReport:
    """Read every case and report all problems; a case that cannot be read is a finding and does not end the check.

    Args:
        definition: The dataset's definition.
        reader: Reader of its cases.
        report: Called with the number of checked cases and the number of all cases, after each case.
    """
    shown = {reader.cases[int(index)].id for index in np.linspace(0, len(reader.cases) - 1, _PANELS).round()}

    def check(case: Case) -> tuple[CaseStatistics, OverviewPanel | None] | QualityIssue:
        return _check_case(reader, case, with_panel=case.id in shown)

    cases, findings, panels = [], [], []
    for result in in_threads(check, reader.cases, max(map(partial(_image_bytes, reader), reader.cases)), report):
        if isinstance(result, QualityIssue):
            findings.append(result)
        else:
            cases.append(result[0])
            panels += [result[1]] if result[1] is not None else []
    findings += [
        *_compare_cases(reader, cases),
        *_find_unused_files(reader),
        *_find_incomplete_subjects(reader),
        *_check_subjects(definition, reader),
    ]
    return QualityReport(cases, findings, panels)


def _check_case(
    reader: CaseReader, case: Case, *, with_panel: bool
) -> tuple[CaseStatistics, OverviewPanel | None] | QualityIssue:
    """Return the statistics of a case and its panel if requested, or the issue that prevents reading it."""
    try:
        raw = reader.read(case)
    except DatasetError as error:
        return QualityIssue("error", f"case '{case.id}': {error}", error.setting)
    image, label, spacing = raw.image, raw.label, (1.0,) * raw.label.ndim
    if raw.affine is not None:
        image, _ = oriented_to_ras(image, raw.affine)
        (label,), spacing = oriented_to_ras(label[None], raw.affine)
    statistics = CaseStatistics(
        id=case.id,
        subject=case.subject,
        shape=label.shape,
        spacing=spacing,
        lowest=float(image.min()),
        highest=float(image.max()),
        constant=tuple(
            name for name, channel in zip(reader.channels, image, strict=True) if channel.min() == channel.max()
        ),
        voxels=tuple(np.bincount(label.ravel(), minlength=len(reader.classes)).tolist()),
        digest=hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest(),
    )
    return statistics, _panel(case.id, image[0], label, spacing) if with_panel else None


def _compare_cases(reader: CaseReader, cases: Sequence[CaseStatistics]) -> Iterator[QualityIssue]:
    """Yield issues with intensities, spacing and classes, and with images that occur twice."""
    if len({len(case.shape) for case in cases}) > 1:
        yield QualityIssue("error", "some images are 2D, others are 3D")
        return
    unit = "mm" if cases and len(cases[0].shape) == 3 else "px"
    for case in cases:
        for name in case.constant:
            yield QualityIssue("warning", f"case '{case.id}': channel '{name}' has the same value everywhere")
        if unit == "mm" and not all(_PLAUSIBLE_SPACING[0] <= edge <= _PLAUSIBLE_SPACING[1] for edge in case.spacing):
            edges = " × ".join(f"{edge:g}" for edge in case.spacing)
            yield QualityIssue("warning", f"case '{case.id}': implausible voxel size of {edges} mm")
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
    by_digest = defaultdict(list)
    for case in cases:
        by_digest[case.digest].append(case)
    for same in by_digest.values():
        if len(same) > 1:
            ids = ", ".join(f"'{case.id}'" for case in same)
            if len({case.subject for case in same}) > 1:
                yield QualityIssue(
                    "error",
                    f"cases {ids} have the same image but different subjects: an image may be in both the training "
                    "and the test set",
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
        path for folder in shared for path in folder.iterdir() if path not in used and path.name.endswith(IMAGES)
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


def _panel(
    title: str, image: NDArray[np.float32], label: NDArray[np.uint8], spacing: tuple[float, ...]
) -> OverviewPanel:
    """Return a panel with a 2D image, or with the axial slice of a volume with the most foreground, anterior up."""
    if label.ndim == 2:
        return OverviewPanel(title, np.array(image), np.array(label), spacing[0] / spacing[1])
    best = int((label > 0).sum((0, 1)).argmax())
    if not label[..., best].any():
        best = label.shape[-1] // 2
    return OverviewPanel(
        title=f"{title}, slice {best}",
        image=np.rot90(image[..., best]).copy(),
        label=np.rot90(label[..., best]).copy(),
        aspect=spacing[1] / spacing[0],
    )


def _image_bytes(reader: CaseReader, case: Case) -> int:
    """Return the size in bytes of a case's image as float32, or 0 if it cannot be read."""
    try:
        return 4 * len(reader.channels) * reader.voxels(case)
    except DatasetError:
        # Reading the case later reports the error.
        return 0
