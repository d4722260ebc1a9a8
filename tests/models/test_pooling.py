"""Pooling with deterministic gradients, compared with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from stampbench.models import pooling
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.pooling import deterministic_max_pool, deterministic_mean_pool, max_pool

CASES = [
    ((2, 3, 8, 6), (2, 2)),
    ((2, 3, 7, 5), (2, 2)),
    ((2, 3, 8, 6, 4), (2, 2, 2)),
    ((1, 2, 5, 7, 3), (2, 2, 2)),
    ((2, 3, 8, 6, 5), (2, 2, 1)),  # PocketNet pools in plane
    ((1, 1, 9, 9), (3, 2)),
]


def values(shape: Sequence[int]) -> Tensor:
    """Return few different numbers, so that windows have several largest ones."""
    return torch.randint(-2, 3, tuple(shape), generator=torch.Generator().manual_seed(0)).float().requires_grad_()


def gradient(output: Tensor, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(output, x, torch.arange(1.0, output.numel() + 1).view(output.shape))
    return found


@pytest.mark.parametrize(("shape", "kernel"), CASES)
@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
def test_max_pooling_and_its_gradient_equal_pytorchs_bit_for_bit(
    shape: tuple[int, ...], kernel: tuple[int, ...], layout: str
) -> None:
    x = values(shape)
    if layout == "channels-last":
        last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        x = x.detach().to(memory_format=last).requires_grad_()
    pool = nn.MaxPool2d(kernel) if len(kernel) == 2 else nn.MaxPool3d(kernel)
    expected, found = pool(x), deterministic_max_pool(x, kernel)
    assert torch.equal(found, expected)
    assert torch.equal(gradient(found, x), gradient(expected, x))


@pytest.mark.parametrize(("shape", "kernel"), CASES)
def test_mean_pooling_and_its_gradient_equal_pytorchs(shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    x = values(shape)
    expected = (nn.functional.avg_pool2d if len(kernel) == 2 else nn.functional.avg_pool3d)(x, kernel)
    found = deterministic_mean_pool(x, kernel)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient(found, x), gradient(expected, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        (UNetArchitecture.doubling(3, 1, 2, f=2, depth=2), (8, 8, 4)),
        (UNetArchitecture.doubling(2, 1, 2, f=2, depth=2), (8, 12)),
        (PocketNetArchitecture(spatial_dims=3, in_channels=1, out_channels=2, depth=2, f=2), (8, 8, 3)),
    ],
)
def test_networks_use_it_where_pytorch_would_refuse(
    monkeypatch: pytest.MonkeyPatch, architecture: UNetArchitecture | PocketNetArchitecture, size: tuple[int, ...]
) -> None:
    model, images = build(architecture).train(), torch.randn(2, 1, *size)
    gradients, used = [], []

    def counted(x: Tensor, kernel: Sequence[int]) -> Tensor:
        used.append(tuple(kernel))
        return deterministic_max_pool(x, kernel)

    monkeypatch.setattr(pooling, "deterministic_max_pool", counted)
    for needed in (False, True):
        monkeypatch.setattr(pooling, "needs_deterministic_form", lambda x, needed=needed: needed)
        model.zero_grad()
        model(images).square().mean().backward()
        gradients.append([each.grad.clone() for each in model.parameters() if each.grad is not None])
    assert len(used) == architecture.depth
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_cpu_and_other_algorithms_keep_pytorchs_pooling() -> None:
    x = torch.randn(1, 1, 4, 4)
    try:
        torch.use_deterministic_algorithms(True)
        assert not pooling.needs_deterministic_form(x)
        assert torch.equal(max_pool(nn.MaxPool2d(2), x), nn.MaxPool2d(2)(x))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.gpu
def test_gradients_on_a_gpu_are_those_of_the_cpu() -> None:
    try:
        torch.use_deterministic_algorithms(True)
        for shape, kernel in CASES:
            x = values(shape)
            device = x.detach().cuda().requires_grad_()
            pool = nn.MaxPool2d(kernel) if len(kernel) == 2 else nn.MaxPool3d(kernel)
            found = max_pool(pool, device)
            weights = torch.arange(1.0, found.numel() + 1, device="cuda").view(found.shape)
            (moved,) = torch.autograd.grad(found, device, weights)
            assert torch.equal(moved.cpu(), gradient(pool(x), x))
    finally:
        torch.use_deterministic_algorithms(False)
