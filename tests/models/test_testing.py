"""The conformance kit of networks: it passes a correct network and names what is wrong with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.models.errors import ModelError
from stampbench.models.network import Network
from stampbench.models.networks.monai import DynUNet
from stampbench.models.testing import check_network


class Plain(nn.Module):
    """Two convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(in_channels, 4, 3, padding=1), nn.Conv2d(4, out_channels, 1)

    def forward(self, x: Tensor) -> Any:
        return self.second(self.first(x).relu())


class ScaledByWidth(Plain):
    """Divides by its number of channels, which pruning changes."""

    def forward(self, x: Tensor) -> Any:
        hidden = self.first(x)
        return self.second(hidden / hidden.shape[1])


class FixedWidth(Plain):
    """Adds a tensor with as many channels as the unpruned network has."""

    def forward(self, x: Tensor) -> Any:
        hidden = self.first(x)
        return self.second(hidden) if hidden.shape[1] == 4 else torch.zeros_like(x)


class Normalised(Plain):
    """Normalises over all channels."""

    def forward(self, x: Tensor) -> Any:
        return self.second(nn.functional.group_norm(self.first(x), 1))


class Detached(Plain):
    """Cannot be trained."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x).detach().requires_grad_()


class LowResolution(Plain):
    """Returns small logits in training mode."""

    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return [nn.functional.avg_pool2d(logits, 2), logits] if self.training else logits


class Wrapped(Network, frozen=True):
    """One of the modules above."""

    kind: str = "Plain"

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        module: nn.Module = globals()[self.kind](in_channels, out_channels)
        return module

    def divisors(self, spatial_dims: int) -> tuple[int, ...]:
        return (4,) * spatial_dims


def test_a_correct_network_passes(tmp_path: Path) -> None:
    check_network(Wrapped(), 2, tmp_path)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_deep_supervision_passes(spatial_dims: int, tmp_path: Path) -> None:
    check_network(DynUNet(f=2, depth=2, deep_supervision=1), spatial_dims, tmp_path)


@pytest.mark.parametrize("kind", ["ScaledByWidth", "FixedWidth"])
def test_a_network_that_depends_on_its_widths_fails(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="without filters of layer 'first' it does not compute"):
        check_network(Wrapped(kind=kind), 2, tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Normalised", "no layer can lose filters"),
        ("Detached", "no weight gets a gradient"),
        ("LowResolution", "the first logits in training mode are not those of the full size"),
    ],
)
def test_a_faulty_network_fails(kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check_network(Wrapped(kind=kind), 2, tmp_path)


def test_a_network_that_cannot_be_pruned_passes_if_it_says_so(tmp_path: Path) -> None:
    check_network(Wrapped(kind="Normalised"), 2, tmp_path, prunable=False)
    with pytest.raises(AssertionError, match="layers can lose filters"):
        check_network(Wrapped(), 2, tmp_path, prunable=False)
