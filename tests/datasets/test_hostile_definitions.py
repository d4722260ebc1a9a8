"""Definition files of other people: one line and exit code 2, and nothing written outside the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]
PATTERNS: dict[str, Any] = {"images": ["imagesTr/{case}.nii.gz"], "labels": ["labelsTr/{case}.nii.gz"]}
FILES: dict[str, Any] = {
    "images": ["imagesTr/{subject}.nii.gz"], "label": r"labelsTr/(?P<subject>case_\d+)\.nii\.gz", "channels": ["CT"],
}  # fmt: skip


def define(folder: Path, definition: dict[str, Any]) -> Path:
    """Write a definition file of a dataset with one class."""
    path = folder / "d.yaml"
    path.write_text(json.dumps({"classes": {"prostate": [1, 2]}, **definition}))
    return path


@pytest.mark.parametrize(
    "case", ["../../../escaped/{subject}", "{folder}/escaped/{subject}", "a/{subject}", "{subject}\n", "\x1b{subject}"]
)
def test_case_ids_are_names_and_no_paths(
    case: str, decathlon: Callable[..., Path], stampbench: Command, tmp_path: Path
) -> None:
    folder = decathlon(cases=4, channels=("CT",))
    path = define(folder, {"files": FILES | {"case": case.replace("{folder}", str(tmp_path))}})
    before = {each for each in tmp_path.rglob("*") if "escaped" in str(each)}
    code, _, err = stampbench("datasets", "prepare", path)
    assert (code, "is not a name of 1 to 200 printable characters" in err, err.count("\n")) == (2, True, 1), err
    assert {each for each in tmp_path.rglob("*") if "escaped" in str(each)} == before


def test_file_names_that_are_not_unicode_are_refused(decathlon: Callable[..., Path], stampbench: Command) -> None:
    folder = decathlon(cases=4, channels=("CT",))
    for part in (b"imagesTr", b"labelsTr"):
        names = [os.path.join(os.fsencode(folder), part, name) for name in (b"case_00.nii.gz", b"case_\xff.nii.gz")]  # noqa: PTH118
        os.rename(*names)  # noqa: PTH104
    code, _, err = stampbench("datasets", "check", define(folder, {"patterns": PATTERNS}))
    assert (code, "is not a name of 1 to 200 printable characters" in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patterns": PATTERNS | {"spacing": [1e-300, 1, 1]}}, "spacing"),
        ({"patterns": PATTERNS, "size": [99_968] * 3}, "a prepared image: has"),
        ({"patterns": PATTERNS, "size": [99_968] * 3, "fit": "resize"}, "a prepared image: has"),
        ({"patterns": PATTERNS, "equivalence_margin": 2.0}, "equivalence_margin"),
        ({"patterns": PATTERNS, "clip_range": [-1e308, 1e308]}, "clip_range"),
    ],
)
def test_impossible_numbers_are_refused(
    change: dict[str, Any], message: str, decathlon: Callable[..., Path], stampbench: Command
) -> None:
    path = define(decathlon(cases=4, channels=("CT",)), change)
    for words in (("datasets", "check", path, "--overview", "o.png"), ("datasets", "prepare", path)):
        code, out, err = stampbench(*words)
        assert code in (1, 2), out
        assert message in out + err
        assert "Traceback" not in err


def test_voxels_of_a_nanometre_are_read(decathlon: Callable[..., Path], stampbench: Command) -> None:
    path = define(decathlon(cases=4, channels=("CT",)), {"patterns": PATTERNS | {"spacing": [1e-6] * 3}})
    assert stampbench("datasets", "prepare", path)[0] == 0
