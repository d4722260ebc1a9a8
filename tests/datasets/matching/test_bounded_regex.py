"""Regular expressions of users: matched as Python matches them, and interrupted when they take long."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.matching import bounded_regex
from stampbench.datasets.matching.bounded_regex import match_whole, search

ENDLESS = "(a+)+b"
NAME = "a" * 60


@settings(max_examples=5)
@given(st.lists(st.text(), max_size=20))
def test_matches_are_those_of_python(texts: list[str]) -> None:
    for pattern in (r"(\w)(?P<digit>\d)?", r"(?P<all>.*)", "é|(\ud800)"):
        for found, function in (
            (search(pattern, texts), re.search),
            (match_whole([pattern], texts, "it")[0], re.fullmatch),
        ):
            expected = [function(pattern, text) for text in texts]
            assert [each and each.groups for each in found] == [each and each.groups() for each in expected]
            assert [each and each.named for each in found] == [each and each.groupdict() for each in expected]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 20_000, "(?P<a>x)(?P<a>y)", "[z-a]"])
def test_other_texts_are_refused_in_one_line(pattern: str) -> None:
    with pytest.raises(DatasetError, match="is not a regular expression") as error:
        search(pattern, ["a"], setting="subject_pattern")
    assert (error.value.setting, "\n" in str(error.value)) == ("subject_pattern", False)


def test_matching_that_does_not_end_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_regex, "SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(DatasetError, match=r"takes more than 0\.5 seconds for 2 names; make it simpler"):
        search(ENDLESS, ["a", NAME])
    assert time.monotonic() - begun < 5


PATTERNS = {"images": [f"{'*a' * 30}{{case}}.nii.gz"], "labels": ["labelsTr/{case}.nii.gz"]}
FILES = {"images": ["imagesTr/{subject}.nii.gz"], "label": rf"{ENDLESS}(?P<subject>x)", "case": "{subject}"}


@pytest.mark.parametrize(
    "definition",
    [
        {"subject_pattern": ENDLESS},
        {"classes": {"a": [1]}, "patterns": PATTERNS},
        {"classes": {"a": [1]}, "files": FILES | {"channels": ["CT"]}},
    ],
)
def test_no_pattern_of_a_definition_file_can_hang_a_command(
    definition: dict[str, Any], decathlon: Callable[..., Path], stampbench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_regex, "SECONDS", 1)
    folder = decathlon(cases=2)
    for name in ("imagesTr", "labelsTr"):
        (folder / name / "case_00.nii.gz").rename(folder / name / f"{NAME}.nii.gz")
    os.rename(folder / "labelsTr" / f"{NAME}.nii.gz", folder / NAME)  # noqa: PTH104
    (folder / "labelsTr" / f"{NAME}.nii.gz").symlink_to(folder / NAME)
    described = (folder / "dataset.json").read_text().replace("case_00", NAME)
    (folder / "dataset.json").write_text(described)
    (folder / "d.yaml").write_text(str(definition))
    begun = time.monotonic()
    code, _, err = stampbench("datasets", "check", folder / "d.yaml", "--overview", "o.png")
    assert time.monotonic() - begun < 8
    assert (code, "takes more than 1 seconds" in err) == (2, True), err


def test_folders_that_link_to_each_other_are_searched_once(tmp_path: Path, stampbench: Any) -> None:
    for name in "abcd":
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    files = {"images": ["{subject}.nii"], "label": "(?P<subject>x)", "case": "{subject}", "channels": ["CT"]}
    (tmp_path / "d.yaml").write_text(str({"classes": {"a": [1]}, "files": files}))
    begun = time.monotonic()
    code, _, err = stampbench("datasets", "check", tmp_path / "d.yaml")
    assert time.monotonic() - begun < 5
    assert (code, "contains no label maps" in err) == (2, True), err
