"""Look at a sample of a dataset's cases: the channels of their images, and whether they can be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.matching.match import MatchedCase
from stampbench.datasets.readers.reader import CaseReader

_MOST = 20
"""Most cases of a sample."""
_Item = TypeVar("_Item")


class Channels(NamedTuple):
    """Names of the channels of images, and how colours are read (`Patterns.colour`)."""

    names: tuple[str, ...]
    colour: Literal["grey", "rgb"] | None


def sample(items: Sequence[_Item]) -> list[_Item]:
    """Return up to 20 items, evenly spaced."""
    chosen = {int(index) for index in np.linspace(0, len(items) - 1, _MOST).round()}
    return [item for index, item in enumerate(items) if index in chosen]


def find_channels(cases: Sequence[MatchedCase], names: Sequence[str | None]) -> Channels:
    """Return the channels of images, from a sample: three equal colours are grey.

    Args:
        cases: The cases.
        names: A name for each image of a case; None: it gets one.

    Raises:
        DatasetError: when images of the sample have different numbers of channels.
    """
    colour: Literal["grey", "rgb"] | None = None
    pictures = [[image_io.read(path) for path in case.images] for case in sample(cases)]
    coloured = [each for images in pictures for each in images if each.pixels.ndim == 3 and len(each.pixels) in (3, 4)]
    if coloured:
        equal = all((each.pixels[:3] == each.pixels[:1]).all() for each in coloured)
        colour = "grey" if equal else "rgb"
    counts = []
    for position in range(len(names)):
        found = {len(images[position].pixels): cases_ for images, cases_ in zip(pictures, sample(cases), strict=True)}
        if colour is None and len(found) > 1:
            (one, first), (other, second) = list(found.items())[:2]
            raise DatasetError(
                f"images have different numbers of channels: {one} in {first.images[position]}, {other} in "
                f"{second.images[position]}; ignore those that do not belong together"
            )
        counts.append({"grey": 1, "rgb": 3}[colour] if colour else next(iter(found)))
    return Channels(tuple(_named(counts, names)), colour)


def _named(counts: Sequence[int], names: Sequence[str | None]) -> list[str]:
    result = []
    for position, (count, name) in enumerate(zip(counts, names, strict=True)):
        prefix = name or ("image" if len(counts) == 1 else f"image {position}")
        if count == 1:
            result.append(prefix)
        elif count == 3 and name is None and len(counts) == 1:
            result += ["red", "green", "blue"]
        else:
            result += [f"{prefix} {part}" for part in range(count)]
    return result


def values_of(paths: Sequence[Path]) -> list[int]:
    """Return the values in label maps, of a sample."""
    return sorted({int(value) for path in sample(paths) for value in np.unique(image_io.read(path, label=True).pixels)})


def read_sample(reader: CaseReader) -> int:
    """Read a sample of cases completely and return their number.

    Raises:
        DatasetError: when one cannot be used; the message names it.
    """
    chosen = sample(reader.cases)
    for case in chosen:
        try:
            reader.read(case)
        except DatasetError as error:
            raise DatasetError(f"case '{case.id}': {error}", setting=error.setting) from error
    return len(chosen)
