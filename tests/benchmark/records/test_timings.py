"""Timings of recorded runs: names of checkpoints, and tables from before a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.latency_row import YOUNGER, LatencyRow
from stampbench.benchmark.records import timings
from stampbench.benchmark.records.table_schemas import TIMINGS
from stampbench.benchmark.records.timings import completed, record_timings

PUBLISHED = Path(__file__).parents[3] / "leaderboards" / "timings.csv"


def row(**values: Any) -> dict[str, Any]:
    """Return a row of a timing on a GPU."""
    numbers = dict.fromkeys(LatencyRow.model_fields, 1) | {"noisy_ratio": False, "noisy_time": False, "tf32": False}
    texts = ("network", "backend", "precision", "layout", "shape", "processor", "device", "driver", "clock", "torch")
    known = numbers | dict.fromkeys(texts, "text") | {"measured": "2026-01-02T03:04:05+00:00", "throttling": ""}
    return LatencyRow(**known | {"timing": "kernels"} | values).model_dump()


def test_published_timings_and_those_of_a_gpu_share_a_table() -> None:
    """The published ones have no column that is younger than they are; together they can be read again."""
    older = pd.DataFrame(TIMINGS.parse(PUBLISHED.read_bytes()))
    assert not set(YOUNGER) & set(older)
    newer = pd.DataFrame([row(step=None, allocated_bytes=None) | {"run": "0123456789ab"}])
    both = completed(pd.concat([older, newer]))
    again = pd.DataFrame(TIMINGS.parse(both.to_csv(index=False).encode()))
    assert again["timing"].tolist() == ["wall"] * len(older) + ["kernels"]
    assert (again["calls"] == 1).all()
    assert (again["discarded"].iloc[:-1] == 0).all()
    assert again["step"].isna().all()
    of_gpu = older.head(1).assign(device="cuda:0")
    again = pd.DataFrame(TIMINGS.parse(completed(pd.concat([of_gpu, newer])).to_csv(index=False).encode()))
    assert again["timing"].tolist() == ["events", "kernels"]


def test_checkpoints_are_recorded_with_the_id_of_their_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def __init__(self, root: Path) -> None:
            pass

        def statuses(self) -> dict[str, str]:
            return {"0123456789ab": "finished"}

    monkeypatch.setattr(timings, "RunStore", Store)
    names = ["stamp (f=2) 0123456789ab step 12", "standard 0123456789ab", "flat (untrained start)"]
    path = record_timings(pd.DataFrame([row(network=name) for name in names]), tmp_path)
    assert pd.read_csv(path)["run"].tolist() == ["0123456789ab"] * 2
    with pytest.raises(UserError, match="none is to be timed"):
        record_timings(pd.DataFrame([row(network=names[2])]), tmp_path)
