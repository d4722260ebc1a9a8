"""Guess the images and label maps of an unknown folder, from names and from a sample of the files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.inspection.dicom_groups import group_series
from stampbench.datasets.inspection.file_groups import FileGroup, group_files, without_prefix
from stampbench.datasets.matching.file_list import list_files

_SAMPLE = 6
"""Files that are read of each group."""
_MOST_VALUES = 20
"""Most values of files that may be label maps."""
_ENOUGH = 0.5
"""Share of the images for which a group of label maps must have one."""
_LABEL_WORDS = re.compile("mask|label|seg|manual|annot|truth|gt|lesion|structure", re.IGNORECASE)
_NO_LABEL_WORDS = re.compile("fov|field|roi|mask/", re.IGNORECASE)


class GroupFacts(NamedTuple):
    """What a sample of a group's files says.

    Attributes:
        group: The files.
        sizes: Different sizes, as text.
        channels: Different numbers of channels; 1 for three equal ones.
        coloured: Whether files have three or four channels.
        values: Values, if they are few integers; empty: they are many.
        lowest: Lowest value.
        highest: Highest value.
        foreground: Mean share of pixels that are not 0.
        structures: Names of structures that all files have, in DICOM-SEG and RTSTRUCT files.
        others: Names of structures that some files have.
    """

    group: FileGroup
    sizes: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...]
    coloured: bool
    values: tuple[int, ...]
    lowest: float
    highest: float
    foreground: float
    structures: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def label(self) -> bool:
        """Whether the files can be label maps."""
        return bool(self.structures) or (bool(self.values) and self.channels == (1,))


class Guess(NamedTuple):
    """Images with the groups of label maps that fit them.

    Attributes:
        images: The images.
        labels: Groups of label maps, the most likely one first.
        structures: Whether the label groups are masks of one structure each, named by their folders.
    """

    images: GroupFacts
    labels: tuple[GroupFacts, ...]
    structures: bool

    def covered(self, labels: GroupFacts) -> int:
        """Return how many images have a label map."""
        return len(set(self.images.group.files) & set(labels.group.files))


def inspect(folder: Path) -> tuple[list[GroupFacts], Guess | None]:
    """Return what a folder contains, and which of it are images and label maps; None: nothing fits.

    Raises:
        DatasetError: when the folder contains no image files.
    """
    files = list_files(folder)
    series, taken = group_series(folder, files)
    groups = [*series, *group_files(path for path in files if path not in taken)]
    if not groups:
        raise DatasetError(f"{folder}: contains no image files; known endings are {', '.join(image_io.endings())}")
    facts = [each for each in (_facts(folder, group) for group in groups) if each is not None]
    if guess := _guess(facts):
        return facts, guess
    plain = [each._replace(group=without_prefix(each.group)) for each in facts]
    return facts, _guess(plain)


def _guess(facts: Sequence[GroupFacts]) -> Guess | None:
    """Return the images that have most label maps; images are files that cannot be label maps."""
    best: Guess | None = None
    for images in facts:
        if images.label:
            continue
        fitting = [
            each
            for each in facts
            if each.label and len(set(each.group.files) & set(images.group.files)) >= _ENOUGH * len(images.group.files)
        ]
        if fitting and (best is None or len(images.group.files) > len(best.images.group.files)):
            best = Guess(images, tuple(sorted(fitting, key=_unlikely)), _are_structures(images, fitting))
    return best


def _unlikely(facts: GroupFacts) -> tuple[bool, bool, float]:
    """Return a key that is smaller for files that are more likely label maps."""
    pattern = facts.group.pattern
    return bool(_NO_LABEL_WORDS.search(pattern)), not _LABEL_WORDS.search(pattern), facts.foreground


def _are_structures(images: GroupFacts, labels: Sequence[GroupFacts]) -> bool:
    """Return whether several groups of masks lie side by side in a folder without images, or differ in a word only."""
    if len(labels) < 2 or not all(len(each.values) <= 2 for each in labels):
        return False
    parents = {each.group.pattern.rpartition("/")[0].rpartition("/")[0] for each in labels}
    own = images.group.pattern.rpartition("/")[0]
    return len(parents) == 1 and parents != {own.rpartition("/")[0]} and parents != {own}


def structure_names(labels: Sequence[GroupFacts]) -> list[str]:
    """Return the part in which the patterns of several groups of masks differ, as names of classes."""
    return [each.group.pattern.rpartition("/")[0].rpartition("/")[2] for each in labels]


def class_values(facts: GroupFacts) -> dict[str, int]:
    """Return a name for each value of label maps that is not 0."""
    values = [value for value in facts.values if value]
    return {"foreground" if len(values) == 1 else f"class{value}": value for value in values}


def _facts(folder: Path, group: FileGroup) -> GroupFacts | None:
    """Read a sample of a group; None if no file of it can be read."""
    paths = [paths[0] for paths in group.files.values()]
    chosen = sorted({int(index) for index in np.linspace(0, len(paths) - 1, _SAMPLE)})
    if image_io.structures(folder / paths[0]):
        return _structures(folder, group, [paths[index] for index in chosen])
    sizes, channels, values, foreground = set(), set(), set[float](), []
    coloured, many, low, high = False, False, np.inf, -np.inf
    for index in chosen:
        try:
            # As a label map first: the indices of a palette are few where its colours may be many.
            pixels = image_io.read(folder / paths[index], label=True).pixels
        except DatasetError:
            continue
        grey = len(pixels) > 1 and bool((pixels[:3] == pixels[:1]).all())
        coloured |= pixels.ndim == 3 and len(pixels) in (3, 4)
        channels.add(1 if grey else len(pixels))
        sizes.add(pixels.shape[1:])
        found = np.unique(pixels)
        many |= len(found) > _MOST_VALUES or bool((found != found.astype(int)).any())
        values.update(found[: _MOST_VALUES + 1].tolist())
        low, high = min(low, float(found[0])), max(high, float(found[-1]))
        foreground.append(np.count_nonzero(pixels) / pixels.size)
    if not sizes:
        return None
    few = () if many or len(values) > _MOST_VALUES else tuple(sorted(int(value) for value in values))
    return GroupFacts(
        group, tuple(sorted(sizes)), tuple(sorted(channels)), coloured, few, low, high, float(np.mean(foreground))
    )


def _structures(folder: Path, group: FileGroup, paths: Sequence[str]) -> GroupFacts:
    """Return the names of structures in a sample of files; their masks are not read, which needs the images."""
    names = [image_io.structures(folder / path) for path in paths]
    common = tuple(name for name in names[0] if all(name in each for each in names))
    others = sorted({name for each in names for name in each if name not in common})
    return GroupFacts(group, (), (), False, (), 0, 0, 0, common, tuple(others))
