"""Template of a new network: a file with the network, and a file with its test."""

from __future__ import annotations

from pathlib import Path

from stampbench.benchmark.config.template import write_template
from stampbench.models.registry import DEFAULT, NETWORKS

_NETWORK = '''"""{name}: describe the network in one line."""

import torch
from pydantic import Field
from torch import nn

from stampbench.models.network import Network


class {cls}(Network, frozen=True):
    """The line that 'stampbench list networks' shows, with the paper (Author et al. year)."""

    # Hyperparameters are typed fields; `--network-set f=8` changes them, and a wrong type is an error.
    f: int = Field(8, ge=1, description="filters of every convolution")

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        """Return the module; which of its filters can be removed is found by itself."""
        return {cls}Module(spatial_dims, in_channels, out_channels, self.f)


class {cls}Module(nn.Module):
    """Two levels with a skip connection."""

    def __init__(self, spatial_dims, in_channels, out_channels, f):
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        norm = nn.BatchNorm2d if spatial_dims == 2 else nn.BatchNorm3d

        def unit(inputs):
            return nn.Sequential(conv(inputs, f, 3, padding=1), norm(f), nn.ReLU())

        self.high, self.low, self.join = unit(in_channels), unit(f), unit(2 * f)
        self.pool = nn.MaxPool2d(2) if spatial_dims == 2 else nn.MaxPool3d(2)
        self.up = nn.Upsample(scale_factor=2)
        self.head = conv(f, out_channels, 1)

    def forward(self, x):
        """Map images (N, in_channels, *spatial) to logits (N, out_channels, *spatial)."""
        high = self.high(x)
        low = self.up(self.low(self.pool(high)))
        return self.head(self.join(torch.cat([low, high], dim=1)))
'''

_TEST = '''"""Conformance of {cls}."""

import pytest
from {name} import {cls}

from stampbench.models.testing import check_network


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_{name}_conforms(spatial_dims, tmp_path):
    check_network({cls}(), spatial_dims, tmp_path)
'''


def write_network(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into `folder` and return their paths.

    Raises:
        UserError: when the name is not a snake_case identifier or is taken, or a file exists or cannot be written.
    """
    taken = {DEFAULT: None, **{known: entry.origin for known, entry in NETWORKS.items()}}
    return write_template("network", name, taken, folder, (_NETWORK, _TEST))
