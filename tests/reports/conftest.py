"""Fixtures that build data frames of runs, cases and timings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


def make_frames(*runs: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build the data frames of runs and of cases.

    Each case has two classes, with a Dice 0.1 above and 0.1 below the given value. A case `s1/a` belongs to the
    subject `s1`; a case without a slash is its own subject.

    Args:
        *runs: columns of a run that differ from the defaults; `dice` maps cases to Dice, `strategy` is required.
    """
    rows, cases = [], []
    for number, run in enumerate(runs):
        columns = dict(run)
        scores = columns.pop("dice")
        name = f"r{number}"
        rows.append(
            {
                "run": name, "group": "g", "dataset": "d", "dataset_version": "1", "data_checksum": "abcdef0123",
                "form": "64×64", "synthetic": False, "unit": "mm", "protocol": "quick", "name": columns["strategy"],
                "hyperparameters": "{}", "parents": "", "n_train": 25, "training_set": 0, "equivalence_margin": 0.01,
                "fold": 0, "seed": 0, "folds": 5,
                "parameters": 1000, "flops": 2000, "macs": 1000, "epochs": 10, "selected_epoch": 8, "selected_step": 0,
                "ranking_passes": 1, "test_dice": sum(scores.values()) / len(scores), "test_hd95": 2.0,
                "validation_dice": 0.5, "task": columns.get("group", "g"), **columns,
            }
        )  # fmt: skip
        for case, dice in scores.items():
            for label, offset in (("left", 0.1), ("right", -0.1)):
                empty = "prediction" if dice + offset <= 0 else ""
                cases.append(
                    {
                        "run": name, "case": case, "subject": case.split("/")[0], "class": label,
                        "dice": dice + offset, "hd95": 2.0, "msd": 1.0, "empty": empty,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(cases)


@pytest.fixture
def frames() -> Frames:
    """Return the function that builds runs and cases."""
    return make_frames


def make_timings(*rows: tuple[str, str, float], **changes: Any) -> pd.DataFrame:
    """Build timings from one session of interleaved timing on one machine.

    Args:
        *rows: run, backend and time relative to the first network.
        **changes: columns that differ from the defaults in all rows.
    """
    common = {
        "batch": 1, "precision": "fp32", "noisy_ratio": False, "measured": "one", "device": "cpu",
        "processor": "p", "driver": "", "threads": 2, "torch": "2", **changes,
    }  # fmt: skip
    return pd.DataFrame([{"run": run, "backend": backend, "ratio": ratio, **common} for run, backend, ratio in rows])


@pytest.fixture
def timings() -> Callable[..., pd.DataFrame]:
    """Return the function that builds timings."""
    return make_timings
