"""Everything that can be wrong with a dataset, found before hours of training."""

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
from stampbench.datasets.image_io import IMAGES
from stampbench.datasets.preprocessing import oriented_to_ras
from stampbench.datasets.readers import CaseReader
from stampbench.datasets.split import Image, pool
from stampbench.datasets.threads import in_threads

_PANELS = 12
_SPACING = (0.05, 20.0)
"""Voxel edges in mm beyond which something is mistaken for millimetres."""
_FOLDS = 5


class QualityIssue(NamedTuple):
    """What is wrong: an error makes results wrong or a run impossible, a warning asks for a look."""

    level: Literal["error", "warning"]
    text: str


class CaseStatistics(NamedTuple):
    """What was read of a case: size and spacing in RAS, intensities, voxels by class, and the image's digest."""

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
    """One slice of a case to look at, `(rows, columns)`, with the height of a row over the width of a column."""

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    aspect: float


class QualityReport(NamedTuple):
    """The outcome of a check."""

    cases: list[CaseStatistics]
    findings: list[QualityIssue]
    panels: list[OverviewPanel]


def check_dataset(
    definition: Definition, reader: CaseReader, report: Callable[[int, int], None] = lambda done, of: None
) -> QualityReport:
    """Read every case, of which `report` hears; what cannot be read is a finding, and the others are read anyway."""
    shown = {reader.cases[int(each)].id for each in np.linspace(0, len(reader.cases) - 1, _PANELS).round()}

    def work(case: Case) -> tuple[CaseStatistics, OverviewPanel | None] | QualityIssue:
        try:
            raw = reader.read(case)
        except DatasetError as error:
            return QualityIssue("error", f"case '{case.id}': {error}")
        image, label, spacing = raw.image, raw.label, (1.0,) * raw.label.ndim
        if raw.affine is not None:
            image, _ = oriented_to_ras(image, raw.affine)
            (label,), spacing = oriented_to_ras(label[None], raw.affine)
        constant = tuple(name for name, each in zip(reader.channels, image, strict=True) if each.min() == each.max())
        checked = CaseStatistics(
            case.id,
            case.subject,
            label.shape,
            spacing,
            float(image.min()),
            float(image.max()),
            constant,
            tuple(np.bincount(label.ravel(), minlength=len(reader.classes)).tolist()),
            hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest(),
        )
        return checked, _panel(case.id, image[0], label, spacing) if case.id in shown else None

    cases, findings, panels = [], [], []
    for result in in_threads(work, reader.cases, max(map(partial(_bytes, reader), reader.cases)), report):
        if isinstance(result, QualityIssue):
            findings.append(result)
        else:
            cases.append(result[0])
            panels += [result[1]] if result[1] is not None else []
    findings += [*_across(reader, cases), *_left_over(reader), *_subjects(definition, reader)]
    return QualityReport(cases, findings, panels)


def _across(reader: CaseReader, cases: Sequence[CaseStatistics]) -> Iterator[QualityIssue]:
    """What only shows when cases are compared."""
    if len({len(case.shape) for case in cases}) > 1:
        yield QualityIssue("error", "some images are 2D, others 3D")
        return
    unit = "mm" if cases and len(cases[0].shape) == 3 else "px"
    by_digest = defaultdict(list)
    for case in cases:
        by_digest[case.digest].append(case)
        for name in case.constant:
            yield QualityIssue("warning", f"case '{case.id}': channel '{name}' has one value everywhere")
        if unit == "mm" and not all(_SPACING[0] <= edge <= _SPACING[1] for edge in case.spacing):
            edges = " × ".join(f"{edge:g}" for edge in case.spacing)
            yield QualityIssue("warning", f"case '{case.id}': voxels of {edges} mm")
    for same in by_digest.values():
        if len(same) > 1:
            alike = ", ".join(f"'{case.id}'" for case in same)
            several = len({case.subject for case in same}) > 1
            where = "in different subjects: test and training images may be the same" if several else "of one subject"
            yield QualityIssue("error" if several else "warning", f"cases {alike} are the same image, {where}")
    if unit == "mm" and cases and all(case.spacing == (1.0, 1.0, 1.0) for case in cases):
        flat = [case for case in cases if 4 * min(case.shape) < max(case.shape)]
        if flat:
            yield QualityIssue(
                "warning",
                f"every case has voxels of 1 mm, though sizes such as {'×'.join(map(str, flat[0].shape))} suggest "
                "thick slices: the spacing may be lost, and distances in mm with it",
            )
    for index, name in enumerate(reader.classes):
        if cases and not any(case.voxels[index] for case in cases):
            yield QualityIssue("warning", f"class '{name}' is in no case")


def _left_over(reader: CaseReader) -> Iterator[QualityIssue]:
    """Images without labels or the reverse, and subjects with fewer cases than the others."""
    used, folders = set[Path](), Counter[Path]()
    for case in reader.cases:
        files = reader.files(case)
        used.update(files)
        folders.update({path.parent for path in files})
    shared = [folder for folder, cases in folders.items() if cases > 1]  # others have all kinds of files of one case
    unused = sorted(
        path for folder in shared for path in folder.iterdir() if path not in used and path.name.endswith(IMAGES)
        and not path.name.startswith(".")
    )  # fmt: skip
    if unused:
        some = ", ".join(f"{path.parent.name}/{path.name}" for path in unused[:3])
        more = ", …" if len(unused) > 3 else ""
        yield QualityIssue("warning", f"{len(unused)} files belong to no case, an image or a label is missing: {some}{more}")
    numbers = Counter(case.subject for case in reader.cases)
    usual, times = Counter(numbers.values()).most_common(1)[0]
    if usual > 1 and times < len(numbers) <= 1.25 * times:
        odd = [subject for subject, number in numbers.items() if number != usual]
        yield QualityIssue("warning", f"most subjects have {usual} cases, but not {', '.join(odd[:5])}")


def _subjects(definition: Definition, reader: CaseReader) -> Iterator[QualityIssue]:
    """What is wrong with subjects and the split."""
    if (pattern := suspected_pattern(reader.cases)) is not None:
        yield QualityIssue(
            "warning",
            f"ids such as '{reader.cases[0].id}' look like several images of a subject, but every case counts "
            f"as a subject of its own; --subject-pattern '{pattern}' keeps them on one side of the split",
        )
    try:
        test, training = pool(definition, [Image(case.id, case.subject, 0) for case in reader.cases])
    except DatasetError as error:
        yield QualityIssue("error", str(error))
        return
    subjects = {image.subject for image in training}
    if len(subjects) < _FOLDS:
        yield QualityIssue(
            "warning",
            f"{len(subjects)} training subjects are left beside {len(test)} test subjects: too few for {_FOLDS} folds; "
            f"--protocol-set folds={max(len(subjects), 2)} makes fewer",
        )


def _panel(
    title: str, image: NDArray[np.float32], label: NDArray[np.uint8], spacing: tuple[float, ...]
) -> OverviewPanel:
    """Of a volume the axial slice with most foreground, anterior up."""
    if label.ndim == 2:
        return OverviewPanel(title, np.array(image), np.array(label), spacing[0] / spacing[1])
    best = int((label > 0).sum((0, 1)).argmax())
    if not label[..., best].any():
        best = label.shape[-1] // 2
    at = f"{title}, slice {best}"
    return OverviewPanel(
        at, np.rot90(image[..., best]).copy(), np.rot90(label[..., best]).copy(), spacing[1] / spacing[0]
    )


def _bytes(reader: CaseReader, case: Case) -> int:
    try:
        return 4 * len(reader.channels) * reader.voxels(case)
    except DatasetError:
        return 0  # reading it will say why
