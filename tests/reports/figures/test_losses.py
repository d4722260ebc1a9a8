"""The figure of losses by epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stampbench.reports.figures.losses import losses
from stampbench.reports.figures.style import NothingToDrawError

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Draw = Callable[..., Figure]


def test_losses_are_drawn_by_epoch_with_those_validation_losses_that_exist(frames: Frames) -> None:
    runs, _ = frames({"strategy": "stamp", "dice": {"a": 0.8}})
    epochs = pd.DataFrame(
        {"run": "r0", "epoch": [1, 2, 3], "training_loss": [0.9, 0.5, 0.4], "validation_loss": [0.8, np.nan, 0.6]}
    )
    training, validation = losses(runs, epochs).axes
    assert training.lines[0].get_ydata().tolist() == [0.9, 0.5, 0.4]
    assert (validation.lines[0].get_xdata().tolist(), validation.lines[0].get_ydata().tolist()) == ([1, 3], [0.8, 0.6])
    with pytest.raises(NothingToDrawError, match=r"epochs\.csv"):
        losses(runs, epochs.iloc[:0])
