"""Cases of a folder whose files match patterns."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.matching.bounded_regex import Match, match_whole
from stampbench.datasets.matching.file_list import list_files
from stampbench.datasets.matching.patterns import TOKEN, Patterns

_SHOWN = 3
"""Most names that a message lists."""


class MatchedCase(NamedTuple):
    """The files of a case.

    Attributes:
        id: Case id.
        subject: Subject id.
        images: A file per image pattern.
        labels: Files of label maps and masks with the class of a mask; None: a label map.
    """

    id: str
    subject: str
    images: tuple[Path, ...]
    labels: tuple[tuple[Path, str | None], ...]


_Key = tuple[str, ...]
"""What the placeholders of a path matched: the case, or subject and case."""


def match_cases(folder: Path, patterns: Patterns) -> tuple[MatchedCase, ...]:
    """Return the cases of a folder, sorted by id.

    Raises:
        DatasetError: when a pattern matches nothing, files are missing or superfluous, or two ids differ in upper and
            lower case only.
    """
    files = [path for path in list_files(folder) if not any(_ignored(path, each) for each in patterns.ignore)]
    sources = [(pattern, None) for pattern in patterns.labels] + [(each, name) for name, each in patterns.masks.items()]
    matched = _matched([*patterns.images, *(pattern for pattern, _ in sources)], files)
    label_files = {pattern: _label_files(folder, matched[pattern]) for pattern, _ in sources}
    claimed = {path for paths in label_files.values() for path in paths}
    unclaimed = [path for path in files if path not in claimed]
    images = [_find_images(folder, pattern, matched[pattern], unclaimed) for pattern in patterns.images]
    keys = sorted(images[0])
    for pattern, others in zip(patterns.images[1:], images[1:], strict=True):
        _same_cases(f"images of the pattern '{pattern}'", keys, others)
    labels: dict[_Key, list[tuple[Path, str | None]]] = {key: [] for key in keys}
    for pattern, name in sources:
        found = _find_labels(folder, pattern, label_files[pattern], files, keys)
        if name is not None:
            _same_cases(f"mask of class '{name}'", keys, found)
        for key, paths in found.items():
            labels[key] += [(folder / path, name) for path in paths]
    _same_cases("label map", keys, [key for key in keys if labels[key]])
    cases = [
        MatchedCase("_".join(key), key[0], tuple(folder / image[key] for image in images), tuple(labels[key]))
        for key in keys
    ]
    return _checked(cases)


def matching(pattern: str, paths: Sequence[str]) -> set[str]:
    """Return the paths, relative to the folder, that a pattern matches.

    Raises:
        DatasetError: when that takes too long.
    """
    return set(_matched([pattern], paths)[pattern])


def _matched(patterns: Sequence[str], paths: Sequence[str]) -> dict[str, dict[str, _Key]]:
    """Return, for each pattern, the paths that it matches with what its placeholders matched."""
    regexes = {pattern: _regex(pattern) for pattern in patterns}
    texts = [_text(path) for path in paths]
    found = match_whole(list(regexes.values()), texts, "', '".join(regexes))
    return {
        pattern: {path: _key(match) for path, match in zip(paths, matches, strict=True) if match is not None}
        for pattern, matches in zip(regexes, found, strict=True)
    }


def _find_images(folder: Path, pattern: str, matched: Mapping[str, _Key], files: Sequence[str]) -> dict[_Key, str]:
    """Return the image of each case; a series of files is one image.

    Args:
        folder: Folder of the dataset.
        pattern: The pattern.
        matched: The paths that it matches, with their keys.
        files: All paths that are not label maps.
    """
    found: dict[_Key, str] = {}
    of: dict[str, _Key] = {}
    for path in files:
        key = matched.get(path)
        first = None if key is None else image_io.first(folder / path)
        if key is None or first is None:
            continue
        path = first.relative_to(folder).as_posix()
        if of.setdefault(path, key) != key:
            raise DatasetError(
                f"{folder}: cases '{'_'.join(of[path])}' and '{'_'.join(key)}' are images of one series; the pattern "
                f"'{pattern}' needs {{case}} in the name of a folder"
            )
        if found.get(key, path) != path:
            raise DatasetError(
                f"{folder}: case '{'_'.join(key)}' has two images, {found[key]} and {path}; make the pattern "
                f"'{pattern}' match one of them, or ignore the other"
            )
        found[key] = path
    if not found:
        raise _nothing(folder, pattern, files)
    return found


def _find_labels(
    folder: Path, pattern: str, matched: Mapping[str, _Key], files: Sequence[str], keys: Sequence[_Key]
) -> dict[_Key, list[str]]:
    """Return the label maps of each case that a pattern matches; the longest fitting case id wins.

    Args:
        folder: Folder of the dataset.
        pattern: The pattern.
        matched: The label maps that it matches, with their keys.
        files: All paths.
        keys: The keys of all cases.
    """
    found: dict[_Key, list[str]] = {}
    known, strays = set(keys), list[str]()
    subjects = "{subject}" in pattern
    by_case = {key if subjects else key[-1:]: key for key in keys}
    if len(by_case) < len(keys):
        raise DatasetError(f"{folder}: case ids repeat, so the pattern '{pattern}' needs {{subject}}, too")
    unknown = [path for path, key in matched.items() if by_case.get(key) not in known]
    exact = _regex(pattern, sorted({key[-1] for key in keys}, key=len, reverse=True))
    (again,) = match_whole([exact], [_text(path) for path in unknown], pattern)
    corrected = {path: None if match is None else _key(match) for path, match in zip(unknown, again, strict=True)}
    for path, matched_key in matched.items():
        key = by_case.get(corrected.get(path, matched_key) or ())
        if key is None:
            strays.append(path)
        else:
            first = image_io.first(folder / path)
            name = path if first is None else first.relative_to(folder).as_posix()
            found.setdefault(key, []).extend(() if name in found.get(key, ()) else (name,))
    if strays:
        raise DatasetError(
            f"{folder}: {len(strays)} label maps belong to no image ({_listed(strays)}); correct the patterns, or "
            "ignore these files",
            setting="ignore",
        )
    if not found:
        raise _nothing(folder, pattern, files)
    return found


def _label_files(folder: Path, matched: Mapping[str, _Key]) -> Mapping[str, _Key]:
    """Return the files that are label maps: only those with structures if some have them."""
    with_structures = {path: key for path, key in matched.items() if image_io.structures(folder / path)}
    return with_structures or matched


def _same_cases(what: str, keys: Sequence[_Key], found: Collection[_Key]) -> None:
    """Raise an error unless exactly these cases were found."""
    have = set(found)
    if absent := ["_".join(key) for key in keys if key not in have]:
        raise DatasetError(
            f"{len(absent)} of {len(keys)} cases have no {what} ({_listed(absent)}); ignore their images",
            setting="ignore",
        )
    if more := ["_".join(key) for key in have if key not in set(keys)]:
        raise DatasetError(f"{len(more)} {what} belong to no case ({_listed(sorted(more))})")


def _checked(cases: Sequence[MatchedCase]) -> tuple[MatchedCase, ...]:
    lower: dict[str, str] = {}
    for case in cases:
        if (other := lower.setdefault(case.id.lower(), case.id)) != case.id:
            raise DatasetError(f"cases '{other}' and '{case.id}' differ in upper and lower case only; rename one")
    ids = [case.id for case in cases]
    if twice := sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < len(ids) else []:
        raise DatasetError(f"two cases have the id '{twice[0]}', which is made of subject and case")
    return tuple(sorted(cases))


def _regex(pattern: str, cases: Sequence[str] = ()) -> str:
    """Return a pattern as a regular expression; `cases` are the only case ids that it matches, the first one first."""
    parts, named = list[str](), set[str]()
    for match in TOKEN.finditer(unicodedata.normalize("NFC", pattern)):
        name = match["name"]
        if name in named:
            parts.append(f"(?P={name})")
        elif name is not None:
            named.add(name)
            choices = "|".join(map(re.escape, cases)) if cases and name == "case" else "[^/]+?"
            parts.append(f"(?P<{name}>{choices})")
        else:
            wild = {"folders": "(?:[^/]+/)*", "any": "[^/]*", "one": "[^/]"}
            parts.append(wild.get(str(match.lastgroup)) or re.escape(match[0]))
    return "".join(parts)


def _key(match: Match) -> _Key:
    return tuple(match.named[name] or "" for name in ("subject", "case") if name in match.named)


def _text(path: str) -> str:
    """Return a path with composed characters: some file systems store é as two characters."""
    return unicodedata.normalize("NFC", path)


def _ignored(path: str, pattern: str) -> bool:
    return fnmatch(path, pattern) or fnmatch(path.rpartition("/")[2], pattern)


def _nothing(folder: Path, pattern: str, files: Sequence[str]) -> DatasetError:
    near = difflib.get_close_matches(pattern, files[:2000], n=_SHOWN, cutoff=0.3) or list(files[:_SHOWN])
    text = f"; files are for example {', '.join(near)}" if near else ""
    return DatasetError(f"{folder}: the pattern '{pattern}' matches none of {len(files)} files{text}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
