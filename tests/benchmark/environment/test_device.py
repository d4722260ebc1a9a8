"""Choice of the device."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.environment.device import choose_device
from stampbench.benchmark.errors import UserError


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "mps:1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown device '{name}'"):
        choose_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="an MPS device is present")
def test_absent_devices_are_refused() -> None:
    with pytest.raises(UserError, match="device 'mps' is not available"):
        choose_device("mps")
