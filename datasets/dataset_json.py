"""Dataset folders of the Medical Segmentation Decathlon and of nnU-Net v2."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stampbench.datasets.errors import DatasetError


class Case(NamedTuple):
    """One image with its label map: an id, its subject, a file per channel (or one for all), a label file."""

    id: str
    subject: str
    images: tuple[Path, ...]
    label: Path


class DatasetJson(NamedTuple):
    """What a `dataset.json` declares: channel names, label value → class name, and the labelled cases."""

    channels: tuple[str, ...]
    classes: dict[int, str]
    cases: tuple[Case, ...]
    licence: str | None
    citation: str


def read_dataset_json(folder: Path, subject_pattern: str | None = None) -> DatasetJson:
    """Read the `dataset.json` of a Decathlon or nnU-Net v2 raw folder and find its labelled cases.

    Raises:
        DatasetError: no such folder or `dataset.json`, another layout, missing files, no cases.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder")
    path = folder / "dataset.json"
    if not path.is_file():
        raise DatasetError(
            f"{folder}: has no dataset.json; a Medical Segmentation Decathlon or nnU-Net v2 raw folder is expected"
        )
    try:
        declared = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(declared, dict):
        raise DatasetError(f"{path}: is not a JSON object")
    try:
        if "modality" in declared and "training" in declared:
            channels, classes, files = _decathlon(folder, declared)
        elif "channel_names" in declared and "file_ending" in declared:
            channels, classes, files = _nnunet(folder, declared)
        else:
            raise DatasetError(
                f"{path}: is neither a Decathlon's (modality, training) nor nnU-Net v2's (channel_names, file_ending)"
            )
    except DatasetError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DatasetError(f"{path}: is malformed ({type(error).__name__}: {error})") from error
    if min(classes, default=-1) != 0:
        raise DatasetError(f"{path}: label values {', '.join(map(str, classes))} do not start at 0, the background")
    if not channels:
        raise DatasetError(f"{path}: declares no channels")
    if not files:
        raise DatasetError(f"{folder}: has no labelled cases")
    cases = tuple(
        Case(id, subject_of(id, subject_pattern), images, label) for id, (images, label) in sorted(files.items())
    )
    return DatasetJson(
        channels,
        dict(sorted(classes.items())),
        cases,
        str(declared.get("licence") or declared.get("license") or "") or None,
        str(declared.get("reference", "")),
    )


_Files = dict[str, tuple[tuple[Path, ...], Path]]


def _decathlon(folder: Path, declared: dict[str, Any]) -> tuple[tuple[str, ...], dict[int, str], _Files]:
    modality = declared["modality"]
    channels = tuple(str(modality[key]) for key in sorted(modality, key=int))
    files: _Files = {}
    for entry in declared["training"]:
        id = _stem(Path(entry["image"]).name)
        if id in files:
            raise DatasetError(f"{folder / 'dataset.json'}: two training images are called '{id}'")
        files[id] = ((folder / entry["image"],), folder / entry["label"])
    return channels, _classes(folder, [(value, name) for value, name in declared["labels"].items()]), files


def _nnunet(folder: Path, declared: dict[str, Any]) -> tuple[tuple[str, ...], dict[int, str], _Files]:
    names, ending = declared["channel_names"], str(declared["file_ending"])
    channels = tuple(str(names[key]) for key in sorted(names, key=int))
    classes = _classes(folder, [(value, name) for name, value in declared["labels"].items()])
    files: _Files = {}
    for label in sorted((folder / "labelsTr").glob(f"*{ending}")):
        id = label.name.removesuffix(ending)
        images = [folder / "imagesTr" / f"{id}_{channel:04d}{ending}" for channel in range(len(channels))]
        # An RGB picture is one file that holds all its channels.
        files[id] = (tuple(images if len(images) == 1 or images[1].is_file() else images[:1]), label)
    return channels, classes, files


def _classes(folder: Path, declared: list[tuple[Any, Any]]) -> dict[int, str]:
    """Label value → class name, each value once."""
    path, classes = folder / "dataset.json", dict[int, str]()
    for value, name in declared:
        if isinstance(value, list | tuple):
            raise DatasetError(f"{path}: region labels such as {value} are not supported")
        if str(name) == "ignore":
            raise DatasetError(f"{path}: the label 'ignore' is not supported")
        if not str(value).isdecimal():
            raise DatasetError(f"{path}: label value {value!r} is not an integer from 0")
        if int(value) in classes:
            raise DatasetError(f"{path}: label value {value} is both '{classes[int(value)]}' and '{name}'")
        if str(name) in classes.values():
            raise DatasetError(f"{path}: class '{name}' has more than one label value")
        classes[int(value)] = str(name)
    return classes


def subject_of(case: str, pattern: str | None) -> str:
    """The subject of a case id.

    Raises:
        DatasetError: the pattern does not match, or is no regular expression with a group.
    """
    if pattern is None:
        return case
    try:
        match = re.search(pattern, case)
        if match is None:
            raise DatasetError(f"case '{case}' does not match the subject pattern '{pattern}'")
        subject = match.group(1)
    except (re.error, IndexError) as error:
        raise DatasetError(f"subject pattern '{pattern}' is not a regular expression with one group") from error
    if not subject:
        raise DatasetError(f"case '{case}': the group of the subject pattern '{pattern}' matches nothing")
    return subject


def suspected_pattern(cases: Sequence[Case]) -> str | None:
    """A subject pattern that ids such as `patient001_frame01` ask for where every case is its own subject."""
    parts = [re.match(r"([A-Za-z]*[-_]?\d+)[-_].", case.id) for case in cases]
    if any(case.subject != case.id for case in cases) or not all(parts):
        return None
    subjects = {match[1] for match in parts if match}
    return r"^([A-Za-z]*[-_]?\d+)[-_]" if 1 < len(subjects) < len(cases) else None


def _stem(name: str) -> str:
    return name.removesuffix(".gz").rsplit(".", 1)[0]
