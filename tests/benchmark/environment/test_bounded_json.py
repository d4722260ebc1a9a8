"""JSON of strangers: limits of size, depth and digits, and strictness."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stampbench.benchmark.environment.bounded_json import JsonLimits, parse_json, read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_values_within_the_limits_are_read_as_they_were_written(value: object) -> None:
    try:
        expected = json.loads(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:  # half of a character
        with pytest.raises(ValueError, match="surrogates"):
            parse_json(json.dumps(value).encode())
        return
    assert parse_json(json.dumps(value).encode()) == expected
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "more than 100 deep"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "more than 100 deep"),
        (b'["' + b"[" * 200 + b'"' + b"[" * 101, "more than 100 deep"),
        (b'"' + b"\\" * 100_000, "Unterminated|Invalid"),
        (b"1" * 400, "a number with 400 characters"),
        (b"1." + b"1" * 400, "a number with 402 characters"),
        (b"1e999", "too large"),
        (b"[NaN]", "NaN is not a number"),
        (b"-Infinity", "-Infinity is not a number"),
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b'"\xff"', "utf-8"),
        (b'"\\ud800"', "surrogates"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "Expecting value"),
        (b'"' + b"a" * (1 << 20) + b'"', "larger than 1,048,576 bytes"),
    ],
)
def test_anything_else_is_refused_at_once(content: bytes, problem: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ValueError, match=problem):
        parse_json(content)
    assert time.monotonic() - begun < 1


def test_brackets_within_text_do_not_count() -> None:
    assert parse_json(json.dumps(["[" * 200, '"' + "{" * 200]).encode()) == ["[" * 200, '"' + "{" * 200]


def test_only_regular_files_up_to_the_limit_are_read(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(json.dumps("a" * 100))
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for path, problem in (
        ("large.json", "larger than 50 bytes"),
        ("pipe.json", "not a regular file"),
        ("zero.json", "a symbolic link, not a regular file"),
        (".", "not a regular file"),
        ("absent.json", "No such file"),
        ("a\0b", "not a file name"),
        ("a" * 300, "File name too long"),
    ):
        with pytest.raises(OSError, match=problem):
            read_json(tmp_path / path, JsonLimits(size=50))
