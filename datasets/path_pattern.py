"""Find the cases of a folder whose file paths match a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from stampbench.datasets.dataset_json import Case, subject_of
from stampbench.datasets.definition import Definition, Files
from stampbench.datasets.errors import DatasetError


def find_cases(folder: Path, files: Files, subject_pattern: str | None = None) -> tuple[Case, ...]:
    """Return the labelled cases of a folder, sorted by id.

    Args:
        folder: Folder to search.
        files: Pattern of the label maps' paths, and the paths of the images that belong to them.
        subject_pattern: Regular expression whose first group in a case id is the subject; None: the group `subject`
            of the pattern in `files` is the subject.

    Raises:
        DatasetError: when the folder does not exist or contains no label map, or two label maps have the same case id.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    cases = dict[str, Case]()
    for path, groups in sorted(_label_maps(folder, files)):
        id = files.case.format_map(groups)
        if id in cases:
            other, this = cases[id].label.relative_to(folder), path.relative_to(folder)
            raise DatasetError(f"{folder}: label maps {other} and {this} have the same case id '{id}'")
        subject = groups["subject"] if subject_pattern is None else subject_of(id, subject_pattern)
        images = tuple(folder / image.format_map(groups) for image in files.images)
        cases[id] = Case(id, subject, images, path)
    if not cases:
        raise DatasetError(f"{folder}: contains no label maps; their paths must match {files.label}")
    return tuple(cases[id] for id in sorted(cases))


def is_here(definition: Definition, data_root: Path) -> bool:
    """Return whether a dataset's folder contains its `dataset.json`, or at least one of its label maps."""
    folder = definition.place(data_root)
    if definition.patterns is not None:
        return folder.is_dir()
    if definition.files is None:
        return (folder / "dataset.json").is_file()
    return next(_label_maps(folder, definition.files), None) is not None


def _label_maps(folder: Path, files: Files) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield each label map with the groups of its path; links to folders are followed, hidden files are skipped."""
    pattern = re.compile(files.label)
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(parent, name)
            match = None if name.startswith(".") else pattern.fullmatch(path.relative_to(folder).as_posix())
            if match is not None:
                yield path, match.groupdict()
