"""Reading dataset.json in both layouts, and refusing unusable ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.datasets.dataset_json import read_dataset_json
from stampbench.datasets.errors import DatasetError


def nnunet(folder: Path, **changes: object) -> Path:
    """Write an nnU-Net v2 folder with three cases of two channels, with changes to its dataset.json."""
    declared = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "left": 1, "right": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        **changes,
    }
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for case in ("patient001_a", "patient001_b", "patient002_a"):
        (folder / "labelsTr" / f"{case}.nii.gz").touch()
        for channel in range(2):
            (folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz").touch()
    (folder / "dataset.json").write_text(json.dumps(declared))
    return folder


def test_a_decathlon_folder_is_read(decathlon: Callable[..., Path]) -> None:
    layout = read_dataset_json(decathlon(cases=3))
    assert layout.channels == ("T2", "ADC")
    assert layout.classes == {0: "background", 1: "PZ", 2: "TZ"}
    assert [case.id for case in layout.cases] == ["case_00", "case_01", "case_02"]
    assert [len(case.images) for case in layout.cases] == [1, 1, 1]


def test_an_nnunet_folder_has_one_file_per_channel(tmp_path: Path) -> None:
    layout = read_dataset_json(nnunet(tmp_path / "Dataset001_Two"))
    assert layout.channels == ("T1", "T2")
    assert [image.name for image in layout.cases[0].images] == [
        "patient001_a_0000.nii.gz",
        "patient001_a_0001.nii.gz",
    ]
    assert [case.subject for case in layout.cases] == ["patient001_a", "patient001_b", "patient002_a"]


def test_a_subject_pattern_groups_the_cases_of_a_subject(tmp_path: Path) -> None:
    layout = read_dataset_json(nnunet(tmp_path / "d"), subject_pattern=r"(patient\d+)")
    assert [case.subject for case in layout.cases] == ["patient001", "patient001", "patient002"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"left": 1}}, "do not include 0, the background"),
        ({"labels": {"other": -1, "background": 0}}, "not a non-negative integer"),
        ({"labels": {"background": 0, "left": 1.7}}, "not a non-negative integer"),
        ({"labels": {"background": 0, "left": 1, "right": 1}}, "declared for both 'left' and 'right'"),
        ({"labels": {"background": 0, "left": 1, "ignore": 2}}, "ignore"),
        ({"channel_names": {"T1": 0}}, "malformed"),
        ({"channel_names": ["T1"]}, "malformed"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "region labels"),
        ({"labels": {"background": 0, "left": "one"}}, "not a non-negative integer"),
        ({"labels": 3}, "malformed"),
        ({"file_ending": ".mha"}, "no labelled cases"),
        ({"channel_names": None}, "malformed"),
        ({"channel_names": {}}, "declares no channels"),
        ({"channel_names": [0, 1]}, "malformed"),
        ({"channel_names": {"0": ["T1"]}}, "is not a name"),
        ({"channel_names": {str(number): "T1" for number in range(1025)}}, "declares 1025 channels"),
        ({"labels": {"background": 0, **{f"c{value}": value for value in range(1, 300)}}}, "declares 300 classes"),
        ({"labels": {"background": 0, "left": 10**6}}, "integer below 100,000"),
        ({"labels": {"background": 0, "left\x1b[2J": 1}}, "printable characters"),
        ({"labels": {"background": 0, "left" * 100: 1}}, "1 to 100 printable"),
        ({"file_ending": "/../*"}, "is not an ending such as .nii.gz"),
        ({"file_ending": ["x"]}, "malformed"),
    ],
)
def test_an_unusable_declaration_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset_json(nnunet(tmp_path / "d", **changes))


def test_two_images_with_the_same_name_are_refused(decathlon: Callable[..., Path]) -> None:
    folder = decathlon(cases=2)
    declared = json.loads((folder / "dataset.json").read_text())
    declared["training"].append({"image": "./other/case_00.nii.gz", "label": "./labelsTr/case_00.nii.gz"})
    (folder / "dataset.json").write_text(json.dumps(declared))
    with pytest.raises(DatasetError, match="two training images have the name 'case_00'"):
        read_dataset_json(folder)


def test_a_folder_in_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        read_dataset_json(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"no dataset\.json"):
        read_dataset_json(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        read_dataset_json(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match="unknown layout"):
        read_dataset_json(tmp_path)


def test_subject_patterns_that_cannot_work_are_refused(tmp_path: Path) -> None:
    folder = nnunet(tmp_path / "d")
    for pattern in ("patient", "(", "(nobody)"):
        with pytest.raises(DatasetError, match="pattern") as raised:
            read_dataset_json(folder, subject_pattern=pattern)
        assert raised.value.setting == "subject_pattern"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"modality": ' * 100_000, "nested too deeply"),
        (b'{"modality": {"0": ' + b"9" * 5000 + b"}}", "is not valid JSON"),
        (b" " * (2**24 + 1), "more than 16,777,216 bytes"),
        (b"\xff", "is not valid JSON"),
        (b"[]", "is not a JSON object"),
    ],
)
def test_files_that_are_no_declaration_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_dataset_json(tmp_path)


@pytest.mark.parametrize("key", ["image", "label"])
@pytest.mark.parametrize(
    "name", ["../a.nii.gz", "imagesTr/../../a.nii.gz", "/etc/passwd", "", ".", "a" * 5000, 3, "a\0b"]
)
def test_images_lie_in_the_folder(decathlon: Callable[..., Path], key: str, name: object) -> None:
    folder = decathlon(cases=2)
    declared = json.loads((folder / "dataset.json").read_text())
    declared["training"][0][key] = name
    (folder / "dataset.json").write_text(json.dumps(declared))
    with pytest.raises(DatasetError, match="is not the path of a file in the folder"):
        read_dataset_json(folder)
