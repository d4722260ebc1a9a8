"""Synthetic images of the phantom generator."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from stampbench.datasets import phantom


@pytest.mark.parametrize("dims", [2, 3])
def test_an_index_always_gives_the_same_image(dims: int) -> None:
    image, label = phantom.generate(dims, 32, 5)
    again, again_label = phantom.generate(dims, 32, 5)
    other, other_label = phantom.generate(dims, 32, 6)
    assert np.array_equal(image, again)
    assert np.array_equal(label, again_label)
    assert not np.array_equal(label, other_label)
    assert image.shape == other.shape == (32,) * dims


def test_label_maps_change_only_with_the_version() -> None:
    """Results of the same version are compared on leaderboards, so a change of the images needs a new version."""
    labels = np.stack([phantom.generate(2, 48, index)[1] for index in range(4)])
    assert phantom.VERSION == 1
    assert hashlib.sha256(labels.tobytes()).hexdigest()[:16] == "c9a14063dbcc0484"


@pytest.mark.parametrize("dims", [2, 3])
def test_every_structure_is_present_and_the_nodule_is_small(dims: int) -> None:
    counts = np.array([np.bincount(phantom.generate(dims, 32, index)[1].ravel(), minlength=4) for index in range(12)])
    assert (counts[:, 1:] > 0).all()
    share = counts.mean(0) / counts.sum(1)[0]
    assert share[1] > 3 * share[3]
    assert share[3] < 0.02


def test_noise_is_rician_and_contrast_varies() -> None:
    """Outside the body the signal is near zero, so Rician noise is like Rayleigh noise: positive, mean/SD about 1.9."""
    air = [image[:4].ravel() for image in (phantom.generate(2, 64, index)[0] for index in range(20))]
    ratios = [float(part.mean() / part.std()) for part in air]
    assert min(part.min() for part in air) >= 0
    assert 1.7 < np.median(ratios) < 2.4
    organ = [float(i[label == 1].mean()) for i, label in (phantom.generate(2, 64, index) for index in range(20))]
    assert np.std(organ) / np.mean(organ) > 0.05
