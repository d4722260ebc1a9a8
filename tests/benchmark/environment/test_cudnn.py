"""Versions of cuDNN and their known faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stampbench.benchmark.environment import cudnn, diagnostics
from stampbench.benchmark.environment.cudnn import objections, parse_version, version_text


@pytest.mark.parametrize(
    ("number", "version"), [(8902, "8.9.2"), (90100, "9.1.0"), (91002, "9.10.2"), (91501, "9.15.1"), (100000, "10.0.0")]
)
def test_versions_are_read_from_cudnns_numbers(number: int, version: str) -> None:
    assert version_text(parse_version(number)) == version


@pytest.mark.parametrize(
    ("version", "sources"),
    [
        (None, []),
        ((9, 7, 1), []),
        ((9, 8, 0), ["163539", "166643"]),
        ((9, 10, 2), ["163539", "166643"]),
        ((9, 13, 0), ["166643"]),
        ((9, 15, 0), []),
    ],
)
def test_known_bad_pairs_of_version_and_precision(version: cudnn.Version | None, sources: list[str]) -> None:
    found = objections(version)
    assert [each.split("#")[1][:6] for each in found] == sources
    assert all("bf16" in each and "use cuDNN 9.1" in each for each in found)


def test_doctor_objects_to_a_known_bad_version(
    stampbench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line() -> str:
        return next(each for each in stampbench("doctor")[1].splitlines() if each.startswith("cudnn"))

    monkeypatch.setattr(diagnostics, "cudnn_version", lambda: (9, 10, 2))
    assert "9.10.2  → with bf16, large 3D convolutions may be wrong (pytorch #163539); use cuDNN 9.13" in line()
    monkeypatch.setattr(diagnostics, "cudnn_version", lambda: (9, 15, 1))
    assert line().split() == ["cudnn", "9.15.1"]
