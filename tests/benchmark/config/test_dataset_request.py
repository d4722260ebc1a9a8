"""Datasets requested by name, parameters or folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.config.dataset_request import DatasetRequest, find_definition
from stampbench.benchmark.errors import UserError


def test_datasets_are_found_by_name_parameters_and_folder(tmp_path: Path) -> None:
    assert find_definition("hippocampus").folder == "Task04_Hippocampus"
    sized = find_definition("phantom2d:size=48,cases=20")
    assert sized.phantom is not None
    assert (sized.phantom.size, sized.phantom.cases) == (48, 20)
    assert find_definition(str(tmp_path)).name == tmp_path.name


@pytest.mark.parametrize(
    ("text", "dims", "message"),
    [
        ("prostrate", None, "unknown dataset 'prostrate'; did you mean 'prostate'"),
        ("", None, "unknown dataset ''; known: "),
        ("./nowhere", None, "dataset folder './nowhere' does not exist"),
        ("phantom2d:sized=3", None, "unknown parameter of phantom2d 'sized'; did you mean 'size'"),
        ("phantom2d:size=big", None, "size='big'"),
        ("phantom2d:cases=99999999999", None, "cases='99999999999': input should be less than or equal to 100000"),
        ("phantom2d:cases=" + "9" * 5000, None, "cases="),
        ("phantom2d:size=16000", None, "size='16000': input should be less than or equal to 4096"),
        ("a" * 5000, None, "File name too long"),
        ("~nobody-of-this-name/data", None, "Could not determine home directory"),
        ("hippocampus:size=3", None, "takes no parameters"),
        ("phantom2d", 3, "2 spatial dims, not 3"),
        ("prostate", 3, "2 spatial dims, not 3"),
    ],
)
def test_invalid_requests_are_refused(text: str, dims: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DatasetRequest(name=text, spatial_dims=dims).define()
