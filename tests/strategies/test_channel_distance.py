"""Distances between feature maps, computed by hand."""

from __future__ import annotations

import pytest
import torch

from stampbench.strategies.channel_distance import mean_distance_to_first, relative_distances


def maps(*rows: list[float]) -> torch.Tensor:
    """Return one image's maps of 2 × 4 voxels, whose windows of 2 × 2 voxels are constant."""
    return torch.tensor([[[[a, a, b, b]] * 2 for a, b in rows]], dtype=torch.double)


def test_distances_to_a_reference_are_relative_to_the_largest() -> None:
    # Distances to the first map: sqrt((3² + 0²) / 2), sqrt((0² + 4²) / 2) and 0.
    found = relative_distances(maps([0, 0], [3, 0], [0, 4], [0, 0]), reference=0)
    assert found[0].tolist() == pytest.approx([0, 3 / 4, 1, 0])
    # To the second one: sqrt(9 / 2), sqrt(25 / 2), sqrt(9 / 2).
    found = relative_distances(maps([0, 0], [3, 0], [0, 4], [0, 0]), reference=1)
    assert found[0].tolist() == pytest.approx([3 / 5, 0, 1, 3 / 5])


def test_maps_are_compared_in_windows_of_two_voxels() -> None:
    x = torch.zeros(1, 2, 2, 2)
    x[0, 1] = torch.tensor([[1.0, -1], [-1, 1]])
    assert relative_distances(x, 0).tolist() == [[0, 0]]


@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (2, 5, 8, 8, 8), (2, 5, 1, 1), (2, 5, 1, 4, 4)])
def test_invariants(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    distances = relative_distances(x, 2)
    assert distances.shape == shape[:2]
    assert torch.allclose(distances, relative_distances(7 * x, 2))
    assert (distances[:, 2] == 0).all()
    assert torch.allclose(distances.amax(1), torch.ones(shape[0], dtype=torch.double))


def test_scaled_maps_have_distances_by_hand() -> None:
    # Scaled to [0, 1]: (0, 1), (0, 1), (1, 0); distances 0 and 1.
    found = mean_distance_to_first(maps([0, 2], [5, 9], [3, 1]))
    assert found.item() == pytest.approx(1 / 2, abs=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (2, 4, 4, 4, 4)])
def test_an_increasing_copy_of_the_first_map_has_distance_0(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    x = torch.cat([x[:, :1], 2 * x[:, :1] + 1], 1)
    assert mean_distance_to_first(x).item() == pytest.approx(0, abs=2e-6)
    assert relative_distances(x, 0)[:, 1].min() == 1


def test_gradients_are_finite_for_equal_and_for_constant_maps() -> None:
    x = torch.rand(2, 3, 4, 4)
    x[:, 1], x[:, 2] = x[:, 0], 0
    x.requires_grad_(True)
    mean_distance_to_first(x).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() < 10
    assert mean_distance_to_first(torch.rand(2, 1, 4, 4)).item() == 0
