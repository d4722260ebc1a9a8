"""Find the cases of a folder whose file paths match a pattern."""

from __future__ import annotations

from pathlib import Path

from stampbench.datasets.dataset_json import Case, subjects_of
from stampbench.datasets.definition import Definition, Files
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.matching.bounded_regex import match_whole
from stampbench.datasets.matching.file_list import list_files


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
    found = dict[str, tuple[str, tuple[Path, ...], Path]]()
    for path, groups in _label_maps(folder, files):
        id = files.case.format_map(groups)
        if id in found:
            other, this = found[id][-1].relative_to(folder), path.relative_to(folder)
            raise DatasetError(f"{folder}: label maps {other} and {this} have the same case id '{id}'")
        found[id] = (groups["subject"], tuple(folder / image.format_map(groups) for image in files.images), path)
    if not found:
        raise DatasetError(f"{folder}: contains no label maps; their paths must match {files.label}")
    ids = sorted(found)
    subjects = [found[id][0] for id in ids] if subject_pattern is None else subjects_of(ids, subject_pattern)
    return tuple(Case(id, subject, *found[id][1:]) for id, subject in zip(ids, subjects, strict=True))


def is_here(definition: Definition, data_root: Path) -> bool:
    """Return whether a dataset's folder contains its `dataset.json`, or at least one of its label maps."""
    folder = definition.place(data_root)
    if definition.patterns is not None:
        return folder.is_dir()
    if definition.files is None:
        return (folder / "dataset.json").is_file()
    return bool(_label_maps(folder, definition.files))


def _label_maps(folder: Path, files: Files) -> list[tuple[Path, dict[str, str]]]:
    """Return each label map with the groups of its path, sorted by path."""
    paths = list_files(folder)
    (matches,) = match_whole([files.label], paths, files.label)
    return [
        (folder / path, {name: text or "" for name, text in match.named.items()})
        for path, match in zip(paths, matches, strict=True)
        if match is not None
    ]
