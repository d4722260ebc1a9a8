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
from stampbench.datasets.readers import Source
from stampbench.datasets.split import Image, pool
from stampbench.datasets.threads import in_threads

_PANELS = 12
_SPACING = (0.05, 20.0)
"""Voxel edges in mm beyond which something is mistaken for millimetres."""
_FOLDS = 5


class Finding(NamedTuple):
    """What is wrong: an error makes results wrong or a run impossible, a warning asks for a look."""

    level: Literal["error", "warning"]
    text: str


class CheckedCase(NamedTuple):
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


class Panel(NamedTuple):
    """One slice of a case to look at, `(rows, columns)`, with the height of a row over the width of a column."""

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    aspect: float


class Checked(NamedTuple):
    """The outcome of a check."""

    cases: list[CheckedCase]
    findings: list[Finding]
    panels: list[Panel]


def check_dataset(
    definition: Definition, source: Source, report: Callable[[int, int], None] = lambda done, of: None
) -> Checked:
    """Read every case, of which `report` hears; what cannot be read is a finding, and the others are read anyway."""
    shown = {source.cases[int(each)].id for each in np.linspace(0, len(source.cases) - 1, _PANELS).round()}

    def work(case: Case) -> tuple[CheckedCase, Panel | None] | Finding:
        try:
            raw = source.read(case)
        except DatasetError as error:
            return Finding("error", f"case '{case.id}': {error}")
        image, label, spacing = raw.image, raw.label, (1.0,) * raw.label.ndim
        if raw.affine is not None:
            image, _ = oriented_to_ras(image, raw.affine)
            (label,), spacing = oriented_to_ras(label[None], raw.affine)
        constant = tuple(name for name, each in zip(source.channels, image, strict=True) if each.min() == each.max())
        checked = CheckedCase(
            case.id,
            case.subject,
            label.shape,
            spacing,
            float(image.min()),
            float(image.max()),
            constant,
            tuple(np.bincount(label.ravel(), minlength=len(source.classes)).tolist()),
            hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest(),
        )
        return checked, _panel(case.id, image[0], label, spacing) if case.id in shown else None

    cases, findings, panels = [], [], []
    for result in in_threads(work, source.cases, max(map(partial(_bytes, source), source.cases)), report):
        if isinstance(result, Finding):
            findings.append(result)
        else:
            cases.append(result[0])
            panels += [result[1]] if result[1] is not None else []
    findings += [*_across(source, cases), *_left_over(source), *_subjects(definition, source)]
    return Checked(cases, findings, panels)


def _across(source: Source, cases: Sequence[CheckedCase]) -> Iterator[Finding]:
    """What only shows when cases are compared."""
    if len({len(case.shape) for case in cases}) > 1:
        yield Finding("error", "some images are 2D, others 3D")
        return
    unit = "mm" if cases and len(cases[0].shape) == 3 else "px"
    by_digest = defaultdict(list)
    for case in cases:
        by_digest[case.digest].append(case)
        for name in case.constant:
            yield Finding("warning", f"case '{case.id}': channel '{name}' has one value everywhere")
        if unit == "mm" and not all(_SPACING[0] <= edge <= _SPACING[1] for edge in case.spacing):
            edges = " × ".join(f"{edge:g}" for edge in case.spacing)
            yield Finding("warning", f"case '{case.id}': voxels of {edges} mm")
    for same in by_digest.values():
        if len(same) > 1:
            alike = ", ".join(f"'{case.id}'" for case in same)
            several = len({case.subject for case in same}) > 1
            where = "in different subjects: test and training images may be the same" if several else "of one subject"
            yield Finding("error" if several else "warning", f"cases {alike} are the same image, {where}")
    if unit == "mm" and cases and all(case.spacing == (1.0, 1.0, 1.0) for case in cases):
        flat = [case for case in cases if 4 * min(case.shape) < max(case.shape)]
        if flat:
            yield Finding(
                "warning",
                f"every case has voxels of 1 mm, though sizes such as {'×'.join(map(str, flat[0].shape))} suggest "
                "thick slices: the spacing may be lost, and distances in mm with it",
            )
    for index, name in enumerate(source.classes):
        if cases and not any(case.voxels[index] for case in cases):
            yield Finding("warning", f"class '{name}' is in no case")


def _left_over(source: Source) -> Iterator[Finding]:
    """Images without labels or the reverse, and subjects with fewer cases than the others."""
    used, folders = set[Path](), Counter[Path]()
    for case in source.cases:
        files = source.files(case)
        used.update(files)
        folders.update({path.parent for path in files})
    shared = [folder for folder, cases in folders.items() if cases > 1]  # others have all kinds of files of one case
    unused = sorted(
        path for folder in shared for path in folder.iterdir() if path not in used and path.name.endswith(IMAGES)
        and not path.name.startswith(".")
    )  # fmt: skip
    if unused:
        some = ", ".join(f"{path.parent.name}/{path.name}" for path in unused[:3])
        yield Finding("warning", f"{len(unused)} files belong to no case, an image or a label is missing: {some}" + (
            ", …" if len(unused) > 3 else ""
        ))  # fmt: skip
    numbers = Counter(case.subject for case in source.cases)
    usual, times = Counter(numbers.values()).most_common(1)[0]
    if usual > 1 and times < len(numbers) <= 1.25 * times:
        odd = [subject for subject, number in numbers.items() if number != usual]
        yield Finding("warning", f"most subjects have {usual} cases, but not {', '.join(odd[:5])}")


def _subjects(definition: Definition, source: Source) -> Iterator[Finding]:
    """What is wrong with subjects and the split."""
    if (pattern := suspected_pattern(source.cases)) is not None:
        yield Finding(
            "warning",
            f"ids such as '{source.cases[0].id}' look like several images of a subject, but every case counts "
            f"as a subject of its own; --subject-pattern '{pattern}' keeps them on one side of the split",
        )
    try:
        test, training = pool(definition, [Image(case.id, case.subject, 0) for case in source.cases])
    except DatasetError as error:
        yield Finding("error", str(error))
        return
    subjects = {image.subject for image in training}
    if len(subjects) < _FOLDS:
        yield Finding(
            "warning",
            f"{len(subjects)} training subjects are left beside {len(test)} test subjects: too few for {_FOLDS} folds; "
            f"--protocol-set folds={max(len(subjects), 2)} makes fewer",
        )


def _panel(title: str, image: NDArray[np.float32], label: NDArray[np.uint8], spacing: tuple[float, ...]) -> Panel:
    """Of a volume the axial slice with most foreground, anterior up."""
    if label.ndim == 2:
        return Panel(title, np.array(image), np.array(label), spacing[0] / spacing[1])
    best = int((label > 0).sum((0, 1)).argmax())
    if not label[..., best].any():
        best = label.shape[-1] // 2
    at = f"{title}, slice {best}"
    return Panel(at, np.rot90(image[..., best]).copy(), np.rot90(label[..., best]).copy(), spacing[1] / spacing[0])


def _bytes(source: Source, case: Case) -> int:
    try:
        return 4 * len(source.channels) * source.voxels(case)
    except DatasetError:
        return 0  # reading it will say why
