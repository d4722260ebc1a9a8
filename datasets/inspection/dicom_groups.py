"""Group the DICOM series and the files with structures of an unknown folder, and write each group as a pattern."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from stampbench.datasets.formats.dicom_files import DICOM, first_of_series, has_structures, series_of
from stampbench.datasets.inspection.file_groups import FileGroup


def group_series(folder: Path, paths: Sequence[str]) -> tuple[list[FileGroup], set[str]]:
    """Return groups of series and of files with structures, and all files that belong to them.

    A folder whose images are single files, such as radiographs, has no such group.

    Args:
        folder: The folder.
        paths: Paths of its files, relative to it.

    Raises:
        DatasetError: when the extra that reads DICOM is not installed.
    """
    images, structures, taken = list[str](), list[str](), set[str]()
    for path in paths:
        if not path.lower().endswith(DICOM):
            continue
        file = folder / path
        if has_structures(file):
            structures.append(path)
        elif first_of_series(file) == file and len(series_of(file)) > 1:
            images.append(path)
            taken |= {each.relative_to(folder).as_posix() for each in series_of(file)}
    if not images:
        return [], set()
    level = _level_of_cases(images)
    groups = [*_patterns(images, level, series=True), *_patterns(structures, level, series=False)]
    return groups, {*taken, *structures} if groups else set()


def _level_of_cases(paths: Sequence[str]) -> int:
    """Return the first component in which paths of series differ; it is a folder."""
    parts = [path.split("/")[:-1] for path in paths]
    depth = min(map(len, parts))
    return next((level for level in range(depth) if len({each[level] for each in parts}) > 1), max(depth - 1, 0))


def _patterns(paths: Sequence[str], level: int, *, series: bool) -> list[FileGroup]:
    """Return paths with the same components below the case as groups; components that differ in all cases are `*`."""
    by_depth: dict[int, list[list[str]]] = defaultdict(list)
    for path in paths:
        parts = path.split("/")
        if len(parts) > level + 1:
            by_depth[len(parts)].append(parts)
    groups = []
    for depth, found in by_depth.items():
        cases = {parts[level] for parts in found}
        wild = [
            position
            for position in range(level + 1, depth)
            if len({parts[position] for parts in found}) >= max(len(cases), 2) and len(cases) > 1
        ]
        by_pattern: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for parts in found:
            name = "*" + Path(parts[-1]).suffix if series else parts[-1]
            shown = [*parts[:level], "{case}", *parts[level + 1 : -1], name]
            for position in wild:
                shown[position] = "*" + Path(name).suffix if position == depth - 1 else "*"
            group = by_pattern["/".join(shown)]
            group[parts[level]] = (*group.get(parts[level], ()), "/".join(parts))
        groups += [FileGroup(pattern, files) for pattern, files in by_pattern.items()]
    return groups
