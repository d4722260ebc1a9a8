"""Conformance of all built-in strategies, with the tests that plug-in strategies use too."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.testing import check_conformance


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_built_in_strategy_conforms(name: str, spatial_dims: int, tmp_path: Path, compute: ComputeSettings) -> None:
    entry = STRATEGIES[name]
    check_conformance(entry.load()(**entry.preset), spatial_dims, tmp_path, compute)
