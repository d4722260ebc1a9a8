"""What a record says of its dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.definition import folder_definition


@pytest.mark.parametrize(("home", "expected"), [(".", "~/Task05_Prostate"), ("elsewhere", None)])
def test_path_of_a_folder_does_not_name_the_home_folder(
    home: str,
    expected: str | None,
    write_decathlon: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_decathlon(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / home))
    described = DatasetDescription.of(open_dataset(folder_definition(folder), cache=tmp_path / "cache"))
    assert described.source == (expected or str(folder))
