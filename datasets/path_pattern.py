"""Folders whose files are found by the pattern of their paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from stampbench.datasets.dataset_json import Case, subject_of
from stampbench.datasets.definition import Definition, Files
from stampbench.datasets.errors import DatasetError


def find_cases(folder: Path, files: Files, subject_pattern: str | None = None) -> tuple[Case, ...]:
    """The labelled cases of a folder, in the order of their ids.

    Raises:
        DatasetError: no such folder, no label map in it, or two with the same case id.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    cases = dict[str, Case]()
    for path, match in sorted(_labels(folder, files)):
        relative, groups = path.relative_to(folder), match
        id = files.case.format_map(groups)
        if id in cases:
            raise DatasetError(f"{folder}: {cases[id].label.relative_to(folder)} and {relative} are both case '{id}'")
        subject = groups["subject"] if subject_pattern is None else subject_of(id, subject_pattern)
        images = tuple(folder / image.format_map(groups) for image in files.images)
        cases[id] = Case(id, subject, images, path)
    if not cases:
        raise DatasetError(f"{folder}: has no label maps; their paths have to match {files.label}")
    return tuple(cases[id] for id in sorted(cases))


def is_here(definition: Definition, data_root: Path) -> bool:
    """Whether a dataset's folder has its `dataset.json`, or at least one of its label maps."""
    folder = definition.place(data_root)
    if definition.files is None:
        return (folder / "dataset.json").is_file()
    return next(_labels(folder, definition.files), None) is not None


def _labels(folder: Path, files: Files) -> Iterator[tuple[Path, dict[str, str]]]:
    """Label maps with the groups of their paths; linked folders count, hidden files do not."""
    pattern = re.compile(files.label)
    for where, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(where, name)
            match = None if name.startswith(".") else pattern.fullmatch(path.relative_to(folder).as_posix())
            if match is not None:
                yield path, match.groupdict()
