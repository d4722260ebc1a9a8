"""Group the image files of an unknown folder by what differs in their names, and write each group as a pattern."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from stampbench.datasets.formats.image_io import endings

_TAIL = re.compile(r"((?:[_\-. ]+[A-Za-z]+\d?)+)$")
"""Words at the end of a name, such as `_training_mask` or `_manual1`."""
_MOST_TAILS = 6
"""Names of a folder with more different words at their ends have no affixes: the words belong to the case ids."""


class FileGroup(NamedTuple):
    """Files whose paths differ in the case only.

    Attributes:
        pattern: Their paths, as a pattern with `{case}`.
        files: Paths by case id.
    """

    pattern: str
    files: dict[str, tuple[str, ...]]


class _Part(NamedTuple):
    """Files of one folder with one ending and one affix; `wild`: numbers or other words follow the affix."""

    folder: tuple[str, ...]
    affix: str
    wild: bool
    ending: str
    files: dict[str, tuple[str, ...]]

    @property
    def group(self) -> FileGroup:
        name = f"{{case}}{self.affix}{'*' if self.wild else ''}{self.ending}"
        return FileGroup("/".join([*self.folder, name]), self.files)


def group_files(paths: Iterable[str]) -> list[FileGroup]:
    """Return the groups of the image files among these paths, the largest first.

    Args:
        paths: Paths relative to a folder, with `/` as separator.
    """
    images = [path for path in paths if path.lower().endswith(endings())]
    groups = _one_folder_per_case(images) or [part.group for part in _merged(_parts(images))]
    return sorted(groups, key=lambda group: (-len(group.files), group.pattern))


def without_prefix(group: FileGroup) -> FileGroup:
    """Return a group whose case ids lack the letters with which all of them begin: `img_001` becomes `001`."""
    prefix = re.sub(r"[^_\-. ]*$", "", _common_prefix(group.files))
    prefix = prefix or re.sub(r"\d+$", "", _common_prefix(group.files))
    if not prefix or prefix in group.files:
        return group
    files = {case.removeprefix(prefix): each for case, each in group.files.items()}
    return FileGroup(group.pattern.replace("{case}", f"{prefix}{{case}}"), files)


def _split(path: str) -> tuple[tuple[str, ...], str, str]:
    """Return folder, stem and ending of a path."""
    *folder, name = path.split("/")
    ending = next(name[-len(each) :] for each in endings() if name.lower().endswith(each))
    return tuple(folder), name.removesuffix(ending), ending


def _parts(paths: Sequence[str]) -> list[_Part]:
    by_folder = defaultdict(list)
    for path in paths:
        by_folder[_split(path)[0]].append(path)
    parts = []
    for folder, within in by_folder.items():
        found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        names = {_split(path)[1] for path in within}
        tails = _tails(names)
        affixes = defaultdict(set)
        for path in within:
            _, stem, ending = _split(path)
            base = _base(stem, names) or stem.removesuffix(tails.get(stem, ""))
            affix = stem.removeprefix(base)
            general = re.sub(r"[_\-. ]?\d+$", "", affix) if _base(stem, names) else affix
            affixes[general, ending].add(affix)
            found[general, ending][base].append(path)
        for (affix, ending), files in found.items():
            wild = len(affixes[affix, ending]) > 1
            parts.append(_Part(folder, affix, wild, ending, {case: tuple(each) for case, each in files.items()}))
    return parts


def _base(stem: str, names: set[str]) -> str | None:
    """Return the shortest other name that this one continues with a word: `a` for `a_mask_1`."""
    for end in range(1, len(stem)):
        rest = stem[end:]
        if stem[:end] in names and not rest[0].isdigit() and re.search("[A-Za-z]", rest):
            return stem[:end]
    return None


def _tails(names: set[str]) -> dict[str, str]:
    """Return the words at the end of each name; none if they are too different to be affixes."""
    tails = {name: match[1] for name in names if (match := _TAIL.search(name)) and match.start()}
    return tails if len(set(tails.values())) <= min(_MOST_TAILS, max(len(names) // 2, 1)) else {}


def _merged(parts: Sequence[_Part]) -> list[_Part]:
    """Merge groups of folders that differ in one component and have no case in common: training and test."""
    kinds = Counter(part.folder for part in parts)
    depth = max((len(part.folder) for part in parts), default=0)
    for position in range(depth):
        buckets = defaultdict(list)
        for part in parts:
            if position >= len(part.folder):
                buckets[part.folder, part.affix, part.ending, ""].append(part)
                continue
            others = (*part.folder[:position], "*", *part.folder[position + 1 :])
            last = position == len(part.folder) - 1
            # Sibling folders are parts of one set only if each of them has images and label maps.
            distinct = part.affix if last else ""
            own = part.folder[-1] if last and kinds[part.folder] < 2 else ""
            buckets[others, distinct, part.ending, own].append(part)
        parts = [merged for (folder, *_), bucket in buckets.items() for merged in _merge(folder, bucket)]
        for part in parts:
            kinds[part.folder] = max(kinds[part.folder], sum(other.folder == part.folder for other in parts))
    by_name = defaultdict(list)
    for part in parts:
        by_name[part.folder, part.affix, part.wild].append(part)
    return [merged for bucket in by_name.values() for merged in _in_several_formats(bucket)]


def _in_several_formats(bucket: Sequence[_Part]) -> list[_Part]:
    """Merge groups of one folder that differ in the ending only and have no case in common: PNG and JPEG images."""
    cases = [case for part in bucket for case in part.files]
    if len(bucket) == 1 or len(cases) > len(set(cases)):
        return list(bucket)
    files = {case: each for part in bucket for case, each in part.files.items()}
    return [bucket[0]._replace(ending=".*", files=files)]


def _merge(folder: tuple[str, ...], bucket: Sequence[_Part]) -> list[_Part]:
    cases = [case for part in bucket for case in part.files]
    if len(bucket) == 1 or len(cases) > len(set(cases)):
        return list(bucket)
    affixes = {part.affix for part in bucket}
    wild = len(affixes) > 1 or any(part.wild for part in bucket)
    affix = re.sub(r"[A-Za-z0-9]+$", "", _common_prefix(affixes)) if len(affixes) > 1 else affixes.pop()
    files = {case: each for part in bucket for case, each in part.files.items()}
    return [_Part(folder, affix, wild, bucket[0].ending, files)]


def _common_prefix(texts: Collection[str]) -> str:
    first, last = min(texts), max(texts)
    same = (index for index, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, min(len(first), len(last)))]


def _one_folder_per_case(paths: Sequence[str]) -> list[FileGroup]:
    """Return groups such as `{case}/image.nii.gz` if each folder has the files of one case, else none."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    folders = set()
    for path in paths:
        folder, stem, ending = _split(path)
        if not folder:
            return []
        folders.add(folder)
        name = f"{stem}{ending}".replace(folder[-1], "{case}")
        found["/".join([*folder[:-1], "{case}", name])][folder[-1]] = (path,)
    shared = [FileGroup(pattern, files) for pattern, files in found.items() if 2 * len(files) > len(folders)]
    return shared if len(folders) >= 3 and 2 <= len(shared) <= len(folders) else []
