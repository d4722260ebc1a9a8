"""The checkpoint of a trajectory that is selected."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SelectedCheckpoint(NamedTuple):
    """The candidate checkpoint with the best validation Dice so far: step, architecture as JSON, weights."""

    step: int
    architecture: str
    weights: dict[str, Tensor]
