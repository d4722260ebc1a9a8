"""Parsing of fold numbers and training sizes of suites."""

from __future__ import annotations

import pytest

from stampbench.benchmark.config.suite import parse_folds, parse_n_train


def test_folds_are_parsed() -> None:
    assert parse_folds("all") == "all"
    assert [parse_folds(each) for each in ("0,2", [0, 2], 3)] == [(0, 2), (0, 2), (3,)]
    for text in ("x", "", "0,", None):
        with pytest.raises(ValueError, match="neither 'all' nor fold numbers"):
            parse_folds(text)


def test_training_sizes_are_parsed() -> None:
    assert [parse_n_train(each) for each in ("all", "25", 25)] == ["all", 25, 25]
    for number in ("0", "1", "-3", "many", "2.5", 1, 2.5, True):
        with pytest.raises(ValueError, match="neither 'all' nor a number of images from 2"):
            parse_n_train(number)
