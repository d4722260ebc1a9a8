"""The command `stampbench doctor`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stampbench.benchmark.environment.diagnostics import EXTRAS


def test_doctor_reports_versions_data_root_and_datasets(stampbench: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = stampbench("doctor")
    assert code == 0
    found = {line[:20].strip(): line[21:] for line in out.splitlines()}
    assert found["torch"].startswith(torch.__version__.split("+")[0])
    assert "set STAMPBENCH_DATA" in found["data root"]
    assert len(found) == len(out.splitlines())
    assert ("onnxruntime-gpu" in found) == torch.cuda.is_available()
    assert found["data hippocampus"].endswith("missing  → stampbench datasets download hippocampus")


def test_doctor_tells_sizes_settings_and_devices(
    stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache" / "deep").mkdir(parents=True)
    with (tmp_path / "cache" / "deep" / "case.npy").open("wb") as file:
        file.truncate(3 * 2**29)  # a sparse file of 1.5 GiB
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    _, out, _ = stampbench("doctor")
    found = {line[:20].strip(): line[21:] for line in out.splitlines()}
    assert found["cache"] == f"{tmp_path / 'cache'}, 1.5 GiB"
    assert "OMP_NUM_THREADS=1" in found["variables"]
    assert re.fullmatch(r"[\d.]+ of [\d.]+ GiB free.*", found["disk here"])
    assert {"cuda", "cudnn", "mps", "allocator", "disk of cache", "memory", "ray", "onnx"} <= set(found)


def test_the_block_for_an_issue_has_the_same_items_and_no_paths(
    stampbench: Callable[..., tuple[int, str, str]], decathlon: Callable[..., Path], tmp_path: Path
) -> None:
    decathlon(name="Task05_Prostate", cases=2)
    code, out, _ = stampbench("doctor", "--issue", "--data-root", tmp_path)
    assert code == 0
    first, *lines, last = out.splitlines()
    assert (first, last) == ("```text", "```")
    found = {line[:20].strip(): line[21:] for line in lines}
    assert (found["data root"], found["data prostate"]) == ("set", "found")
    assert not [line for line in lines if str(tmp_path) in line or "→" in line or str(Path.home()) in line]
    shown = {line[:20].strip() for line in stampbench("doctor", "--data-root", tmp_path)[1].splitlines()}
    assert shown == set(found)


def test_doctor_knows_every_extra_that_users_install() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    declared = {
        extra: {re.split(r"[\[><=]", each)[0] for each in requirements}
        for extra, requirements in project["optional-dependencies"].items()
        if extra not in ("dev", "docs", "test")
    }
    assert {extra: set(names) for extra, names in EXTRAS.items()} == declared
