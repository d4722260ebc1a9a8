"""Validation of dataset definitions, and errors about missing data roots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Definition, Files
from stampbench.datasets.errors import DatasetError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "(x"}, "is not a regular expression"),
        ({"label": "x{99999999999}"}, "is not a regular expression"),
        ({"label": "(" * 20_000}, "is not a regular expression"),
        ({"case": "{subject:>99999999999}"}, "'{subject:>99999999999}' has more than names in braces"),
        ({"images": ("{subject!r}",)}, "has more than names in braces"),
        ({"images": ("{subject.__class__}",)}, "uses the group 'subject.__class__'"),
        ({"images": ("{subject",)}, "has more than names in braces"),
        ({"label": "x"}, "has no group 'subject'"),
        ({"case": "{foo}"}, "uses the group 'foo', which label does not define"),
        ({"channels": ()}, "channels"),
        ({"images": ()}, "images"),
    ],
)
def test_invalid_files_are_refused_when_they_are_created(change: dict[str, Any], message: str) -> None:
    valid = {
        "label": r"(?P<subject>\d+)/l\.nii",
        "images": ("{subject}/i.nii",),
        "case": "{subject}",
        "channels": ("T1",),
    }
    Files(**valid)
    with pytest.raises(ValidationError, match=message):
        Files(**valid | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": {"a": (1,), "b": (1,)}}, "belongs to two classes"),
        ({"classes": {"a": (1,)}, "background": (1,)}, "to a class and the background"),
        ({"classes": {"a": ()}}, "a class has no label value"),
        ({"clip_range": (5.0, 1.0)}, "the first number must be lower than the second"),
        ({"crop": (4, 4)}, "three edges are required"),
        ({"files": CATALOGUE["nfbs"].files}, "'files' requires 'classes'"),
    ],
)
def test_invalid_definitions_are_refused_when_they_are_created(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Definition(name="x", summary="", folder="x", **change)


def test_a_missing_data_root_is_reported_with_its_setting_and_without_option_syntax() -> None:
    with pytest.raises(DatasetError, match=r"'prostate': no data root is set.*STAMPBENCH_DATA") as raised:
        CATALOGUE["prostate"].place(None)
    assert raised.value.setting == "data_root"
    assert "--" not in str(raised.value)
    assert str(raised.value).endswith(f"; {CATALOGUE['prostate'].remedy}")


def test_the_folder_is_below_the_data_root_unless_it_is_absolute(tmp_path: Path) -> None:
    assert CATALOGUE["prostate"].place(tmp_path) == tmp_path / "Task05_Prostate"
    assert Definition(name="x", summary="", folder=str(tmp_path / "x")).place(None) == tmp_path / "x"
