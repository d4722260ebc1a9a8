"""The error of datasets, files and splits that cannot be used."""

from __future__ import annotations

import pickle

import pytest

from stampbench.datasets.errors import DatasetError


@pytest.mark.parametrize("setting", [None, "data_root"])
def test_an_error_keeps_its_message_and_setting_when_pickled(setting: str | None) -> None:
    copy = pickle.loads(pickle.dumps(DatasetError("dataset 'x': not found", setting=setting)))
    assert type(copy) is DatasetError
    assert str(copy) == "dataset 'x': not found"
    assert copy.setting == setting
