"""A small network to time."""

from __future__ import annotations

import pytest
import torch

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Model, build


@pytest.fixture
def network() -> Model:
    """U-Net in 2D with one channel, two classes, f = 4 and depth 2, in evaluation mode."""
    torch.manual_seed(0)
    return build(UNetArchitecture.doubling(2, 1, 2, f=4, depth=2)).eval()
