"""Versions of cuDNN and their known faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from stampbench.benchmark.environment import cudnn, diagnostics
from stampbench.benchmark.environment.cudnn import objections, parse_version, precision_warnings, version_text


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


def test_runs_are_warned_of_faults_of_their_precision_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn, "cudnn_version", lambda: (9, 10, 2))
    gpu = torch.device("cuda")
    assert precision_warnings(gpu, ["fp32"]) == precision_warnings(torch.device("cpu"), ["bf16"]) == []
    (memory,) = precision_warnings(gpu, ["fp16", "fp32", "fp16"])
    assert memory.startswith("cuDNN 9.10.2: with bf16 and fp16, 3D convolutions need much more memory")
    wrong, again = precision_warnings(gpu, ["bf16", "fp16"])
    assert "may be wrong" in wrong
    assert again == memory
    monkeypatch.setattr(cudnn, "cudnn_version", lambda: (9, 15, 0))
    assert precision_warnings(gpu, ["bf16"]) == []


def test_doctor_objects_to_a_known_bad_version(
    stampbench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line() -> str:
        return next(each for each in stampbench("doctor")[1].splitlines() if each.startswith("cudnn"))

    monkeypatch.setattr(diagnostics, "cudnn_version", lambda: (9, 10, 2))
    assert "9.10.2  → with bf16, large 3D convolutions may be wrong (pytorch #163539); use cuDNN 9.13" in line()
    monkeypatch.setattr(diagnostics, "cudnn_version", lambda: (9, 15, 1))
    assert line().split() == ["cudnn", "9.15.1"]
