"""Read `dataset.json` of folders in the layout of the Medical Segmentation Decathlon or of nnU-Net v2."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.matching.bounded_regex import search

_MOST_BYTES = 2**24
_MOST_CLASSES = 256
"""Classes are stored as bytes, the background included."""
_MOST_CHANNELS = 1024
_LONGEST_NAME = 100
_LONGEST_FILE_NAME = 200


class Case(NamedTuple):
    """An image with its label map.

    Attributes:
        id: Case id, unique within the dataset.
        subject: Subject id.
        images: One file per channel, or one file with all channels.
        label: File of the label map.
    """

    id: str
    subject: str
    images: tuple[Path, ...]
    label: Path


class DatasetJson(NamedTuple):
    """The content of a `dataset.json`.

    Attributes:
        channels: Channel names.
        classes: Class name of each label value, the background (0) included.
        cases: The labelled cases, sorted by id.
        licence: Licence of the data; None if the file states none.
        citation: Publication to cite; empty if the file states none.
    """

    channels: tuple[str, ...]
    classes: dict[int, str]
    cases: tuple[Case, ...]
    licence: str | None
    citation: str


def read_dataset_json(folder: Path, subject_pattern: str | None = None) -> DatasetJson:
    """Read the `dataset.json` of a Decathlon or nnU-Net v2 raw folder and find its labelled cases.

    Args:
        folder: Folder that contains `dataset.json`.
        subject_pattern: Regular expression whose first group in a case id is the subject; None: every case is a
            subject of its own.

    Raises:
        DatasetError: when the folder or its `dataset.json` does not exist, the file is malformed, in another layout or
            declares no channels, there are no labelled cases, or the subject pattern does not work.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    path = folder / "dataset.json"
    if not path.is_file():
        raise DatasetError(
            f"{folder}: has no dataset.json; a raw folder of the Medical Segmentation Decathlon or of nnU-Net v2 is "
            "required"
        )
    declared = _declared(path)
    try:
        if "modality" in declared and "training" in declared:
            channels, classes, files = _decathlon(folder, declared)
        elif "channel_names" in declared and "file_ending" in declared:
            channels, classes, files = _nnunet(folder, declared)
        else:
            raise DatasetError(
                f"{path}: unknown layout; the Decathlon's keys (modality, training) or nnU-Net v2's (channel_names, "
                "file_ending) are required"
            )
    except DatasetError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is malformed ({type(error).__name__}: {error})") from error
    if min(classes, default=-1) != 0:
        raise DatasetError(f"{path}: label values {', '.join(map(str, classes))} do not include 0, the background")
    if len(classes) > _MOST_CLASSES:
        raise DatasetError(f"{path}: declares {len(classes)} classes; at most {_MOST_CLASSES} are supported")
    if not files:
        raise DatasetError(f"{folder}: contains no labelled cases")
    ids = sorted(files)
    cases = tuple(
        Case(id, subject, *files[id]) for id, subject in zip(ids, subjects_of(ids, subject_pattern), strict=True)
    )
    return DatasetJson(
        channels,
        dict(sorted(classes.items())),
        cases,
        _text(declared.get("licence") or declared.get("license")) or None,
        _text(declared.get("reference")),
    )


def _declared(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise DatasetError(f"{path}: has more than {_MOST_BYTES:,} bytes")
        declared = json.loads(content)
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except RecursionError:
        raise DatasetError(f"{path}: is not valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise DatasetError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(declared, dict):
        raise DatasetError(f"{path}: is not a JSON object")
    return declared


def _text(value: object) -> str:
    """Return a text that is shown and not used otherwise; anything but text counts as absent."""
    return value if isinstance(value, str) else ""


_Files = dict[str, tuple[tuple[Path, ...], Path]]
"""The image files and the label file of each case, by case id."""


def _decathlon(folder: Path, declared: dict[str, Any]) -> tuple[tuple[str, ...], dict[int, str], _Files]:
    channels = _channels(folder, declared["modality"])
    files: _Files = {}
    for entry in declared["training"]:
        image, label = (_path(folder, entry[key]) for key in ("image", "label"))
        id = _strip_ending(image.name)
        if id in files:
            raise DatasetError(f"{folder / 'dataset.json'}: two training images have the name '{id}'")
        files[id] = ((image,), label)
    return channels, _classes(folder, [(value, name) for value, name in declared["labels"].items()]), files


def _nnunet(folder: Path, declared: dict[str, Any]) -> tuple[tuple[str, ...], dict[int, str], _Files]:
    channels, ending = _channels(folder, declared["channel_names"]), declared["file_ending"]
    if not re.fullmatch(r"\.[A-Za-z0-9.]{1,20}", ending):
        raise DatasetError(f"{folder / 'dataset.json'}: file_ending {ending[:99]!r} is not an ending such as .nii.gz")
    classes = _classes(folder, [(value, name) for name, value in declared["labels"].items()])
    files: _Files = {}
    for label in sorted((folder / "labelsTr").glob(f"*{ending}")):
        id = label.name.removesuffix(ending)
        images = [folder / "imagesTr" / f"{id}_{channel:04d}{ending}" for channel in range(len(channels))]
        # An RGB image is a single file that contains all channels.
        files[id] = (tuple(images if len(images) == 1 or images[1].is_file() else images[:1]), label)
    return channels, classes, files


def _channels(folder: Path, names: object) -> tuple[str, ...]:
    """Return the channel names by number; the keys are the numbers as text."""
    path = folder / "dataset.json"
    if not isinstance(names, dict):
        raise TypeError("channels are not a mapping of numbers to names")
    if not 1 <= len(names) <= _MOST_CHANNELS:
        raise DatasetError(f"{path}: declares {len(names) or 'no'} channels; 1 to {_MOST_CHANNELS} are supported")
    return tuple(_name(folder, names[key]) for key in sorted(names, key=int))


def _name(folder: Path, name: object) -> str:
    """Return the name of a class or channel."""
    text = str(name) if isinstance(name, str | int) else ""
    if not (0 < len(text) <= _LONGEST_NAME and text.isprintable()):
        raise DatasetError(
            f"{folder / 'dataset.json'}: {str(name)[:_LONGEST_NAME]!r} is not a name of 1 to {_LONGEST_NAME} printable "
            "characters"
        )
    return text


def _path(folder: Path, name: object) -> Path:
    """Return the path of a file in the dataset's folder."""
    parts = PurePosixPath(name).parts if isinstance(name, str) and name.isprintable() else ()
    if not parts or ".." in parts or PurePosixPath(*parts).is_absolute() or max(map(len, parts)) > _LONGEST_FILE_NAME:
        raise DatasetError(
            f"{folder / 'dataset.json'}: {str(name)[:_LONGEST_NAME]!r} is not the path of a file in the folder"
        )
    return folder.joinpath(*parts)


def _classes(folder: Path, declared: list[tuple[Any, Any]]) -> dict[int, str]:
    """Return the class name of each label value, checked to be unique on both sides."""
    path, classes = folder / "dataset.json", dict[int, str]()
    for value, name in declared:
        if isinstance(value, list | tuple):
            raise DatasetError(f"{path}: region labels such as {value} are not supported")
        if str(name) == "ignore":
            raise DatasetError(f"{path}: the label 'ignore' is not supported")
        if not (str(value).isascii() and str(value).isdecimal() and len(str(value)) < 6):
            raise DatasetError(f"{path}: label value {str(value)[:99]!r} is not a non-negative integer below 100,000")
        if int(value) in classes:
            raise DatasetError(f"{path}: label value {value} is declared for both '{classes[int(value)]}' and '{name}'")
        if _name(folder, name) in classes.values():
            raise DatasetError(f"{path}: class '{name}' has more than one label value")
        classes[int(value)] = _name(folder, name)
    return classes


def subjects_of(cases: Sequence[str], pattern: str | None) -> list[str]:
    """Return the subject of each case id: what the pattern's first group matches, or the case id without a pattern.

    Raises:
        DatasetError: when the pattern does not match a case id, its group matches nothing, or it is not a regular
            expression with a group.
    """
    if pattern is None:
        return list(cases)
    subjects = []
    for case, match in zip(cases, search(pattern, cases, setting="subject_pattern"), strict=True):
        if match is None:
            problem = f"case '{case}': does not match the subject pattern '{pattern}'"
        elif not match.groups:
            problem = f"subject pattern '{pattern}': is not a regular expression with one group"
        elif not match.groups[0]:
            problem = f"case '{case}': the group of the subject pattern '{pattern}' matches nothing"
        else:
            subjects.append(match.groups[0])
            continue
        raise DatasetError(problem, setting="subject_pattern")
    return subjects


def suspected_pattern(cases: Sequence[Case]) -> str | None:
    """Return a subject pattern for case ids that look like several images of one subject.

    Ids such as `patient001_frame01` do. Return None if the ids do not look like that, or subjects are defined already.
    """
    parts = [re.match(r"([A-Za-z]*[-_]?\d+)[-_].", case.id) for case in cases]
    if any(case.subject != case.id for case in cases) or not all(parts):
        return None
    subjects = {match[1] for match in parts if match}
    return r"^([A-Za-z]*[-_]?\d+)[-_]" if 1 < len(subjects) < len(cases) else None


def _strip_ending(name: str) -> str:
    return name.removesuffix(".gz").rsplit(".", 1)[0]
