"""Summaries of finished runs."""

from __future__ import annotations

from stampbench.benchmark.execution.summary import _vanished
from stampbench.benchmark.measure.trajectory_rows import Checkpoint


def test_vanished_classes_are_reported_with_their_first_checkpoint() -> None:
    rows = [
        Checkpoint.model_construct(step=step, vanished=names)
        for step, names in enumerate(["a; b", "b", "", "b; c", "c"])
    ]
    assert _vanished(rows) == {"b": 3, "c": 3}  # a was not predicted before it appeared, so that it did not vanish
