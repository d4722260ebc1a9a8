"""Folders whose files are found by the pattern of their paths."""

from __future__ import annotations

import re
from pathlib import Path

from stampbench.datasets.definition import Files
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.folder import Case, subject_of


def find_cases(folder: Path, files: Files, subject_pattern: str | None = None) -> tuple[Case, ...]:
    """The labelled cases of a folder, in the order of their ids.

    Raises:
        DatasetError: no such folder, no label map in it, or two with the same case id.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    pattern, cases = re.compile(files.label), dict[str, Case]()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        match = pattern.fullmatch(relative)
        if match is None:
            continue
        groups = match.groupdict()
        id = files.case.format_map(groups)
        if id in cases:
            raise DatasetError(f"{folder}: {cases[id].label.relative_to(folder)} and {relative} are both case '{id}'")
        subject = groups["subject"] if subject_pattern is None else subject_of(id, subject_pattern)
        images = tuple(folder / image.format_map(groups) for image in files.images)
        cases[id] = Case(id, subject, images, path)
    if not cases:
        raise DatasetError(f"{folder}: has no label maps; their paths have to match {files.label}")
    return tuple(cases[id] for id in sorted(cases))
