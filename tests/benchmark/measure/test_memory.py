"""Peak memory of tensors, compared with counts by hand."""

from __future__ import annotations

import pytest
import torch

from stampbench.benchmark.measure.memory import _peak, allocated_peak, inference_memory, training_memory
from stampbench.models.architecture import UNetArchitecture


def test_peak_counts_living_tensors() -> None:
    def work() -> None:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000 bytes are alive
        del a
        c = b * 2  # 8,000 again
        view = c.view(10, 100)  # the same storage
        del b, c
        view + torch.zeros(500).sum()  # 4,000 + 2,000, then 4,000 + 4 + 4,000

    assert _peak(work) == 8_004


def test_peak_of_a_network_equals_the_count_by_hand() -> None:
    """With one filter per layer and 16 × 16 pixels, the peak is four planes: upsampled, skip, and both concatenated."""
    architecture = UNetArchitecture(
        spatial_dims=2, in_channels=1, out_channels=1, depth=1, convs=(1,) * 6, upconvs=(1,)
    )
    plane = 16 * 16 * 4
    parameters = 5 * (9 + 1) + (18 + 1) + 6 * 2 + (4 + 1) + (1 + 1)
    statistics = 6 * (4 + 4 + 8)  # running mean and variance, and a 64-bit counter
    peak = inference_memory(architecture, (16, 16)) - 4 * parameters - statistics
    saved = 2 * 4  # BatchNorm keeps two numbers per channel for a backward pass
    assert peak == plane + 4 * plane + saved


def test_memory_grows_with_image_and_batch_and_is_larger_in_training() -> None:
    architecture = UNetArchitecture.doubling(3, 1, 3, f=4, depth=2)
    small, large = (inference_memory(architecture, (edge,) * 3) for edge in (16, 32))
    assert 6 < large / small < 8.5
    four, eight = (training_memory(architecture, (32,) * 3, batch) for batch in (4, 8))
    assert four > 4 * large
    assert 1.8 < eight / four < 2


def test_peak_of_the_allocator_is_that_of_the_second_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call allocates 700 bytes that stay; the second one has at most 500 bytes beyond them."""
    allocated, peaks, calls = [1000], [0], []

    def call() -> None:
        if not calls:
            allocated[0] += 700
        calls.append(True)
        peaks[0] = max(peaks[0], allocated[0] + (900 if len(calls) == 1 else 500))

    for name, function in {
        "memory_allocated": lambda device: allocated[0],
        "reset_peak_memory_stats": lambda device: peaks.__setitem__(0, allocated[0]),
        "max_memory_allocated": lambda device: peaks[0],
        "synchronize": lambda device: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    assert allocated_peak(call, torch.device("cuda"), kept=40) == 540
    assert allocated_peak(call, torch.device("cpu"), kept=40) is None
