"""Sliding-window inference."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.inference.sliding_window import sliding_window, whole_or_windows
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build


def test_one_window_of_the_image_size_gives_the_networks_own_output() -> None:
    model = build(UNetArchitecture.doubling(3, 1, 2, f=2, depth=1)).eval()
    images = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        expected = model(images)
        torch.testing.assert_close(sliding_window(model, (16, 16, 16))(images), expected)
        in_windows = sliding_window(model, (8, 8, 8))(images)
    assert sliding_window(model, None) is model
    # Inside a window the network sees the same voxels; only at its border does it see zero padding instead.
    assert (in_windows - expected).abs().median() < 0.05 * expected.std()


def test_windows_overlap_by_a_quarter() -> None:
    starts = []

    class PositionRecorder(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            starts.extend(images[:, 0, 0, 0].int().tolist())
            return images

    sliding_window(PositionRecorder(), (16, 16))(torch.arange(40.0)[None, None, :, None].expand(1, 1, 40, 16))
    assert starts == [0, 12, 24]


@pytest.mark.parametrize("edges", [(16, 16, 16), (13, 16, 9), (16, 16, 20)])
def test_an_image_that_fits_into_a_window_is_padded_as_monai_pads_it(edges: tuple[int, ...]) -> None:
    model = build(UNetArchitecture.doubling(3, 1, 2, f=2, depth=1)).eval()
    images = torch.randn(2, 1, *edges)
    with torch.inference_mode():
        expected = sliding_window(model, (16, 16, 16))(images)
        torch.testing.assert_close(whole_or_windows(model, (16, 16, 16))(images), expected)
        if max(edges) <= 16:
            assert whole_or_windows(model, None)(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 2, 16, 16, 16)
