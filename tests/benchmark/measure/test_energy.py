"""Energy counters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stampbench.benchmark.measure import energy


def test_energy_is_read_from_the_counter_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "energy_uj"
    monkeypatch.setattr(energy, "_RAPL", counter)
    assert energy.joules(torch.device("cpu")) is None
    counter.write_text("2500000\n")
    assert energy.joules(torch.device("cpu")) == 2.5
