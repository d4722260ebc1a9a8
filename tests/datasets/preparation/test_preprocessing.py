"""Preprocessing, compared with MONAI's transforms to the last bit, so that prepared cases of older versions hold."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity, Orientation, ResizeWithPadOrCrop

from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing import network_input, oriented_to_ras, preprocess, restore
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers.reader import RawCase

AFFINES = [
    np.block([[np.diag(signs)[list(order)] * (0.7, 1.3, 2.9) + 0.01, np.ones((3, 1))], [np.zeros(3), 1]])
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
"""An affine for each of the 48 orientations of axes, a little oblique."""


def config(size: tuple[int, ...], fit: str = "pad") -> PreprocessingConfig:
    """Return settings without a clip range."""
    return PreprocessingConfig(size=size, fit=fit, spatial_dims=len(size), clip_range=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("order", ["C", "F"])
def test_axes_and_intensities_equal_monais_in_every_orientation(channels: int, order: str) -> None:
    """The order of voxels in memory is the same too, because a mean depends on it."""
    voxels = np.random.default_rng(0).normal(100, 30, (channels, 13, 10, 7)).astype(np.float32, order=order)  # type: ignore[call-overload]
    for affine in AFFINES:
        tensor = MetaTensor(torch.from_numpy(voxels.copy(order="C")), affine=affine)
        expected = Orientation("RAS", labels=None)(tensor)
        found, spacing = oriented_to_ras(voxels, affine)
        assert np.array_equal(found, expected.numpy())
        assert spacing == pytest.approx(np.linalg.norm(expected.affine[:3, :3], axis=0), abs=1e-5)
        pixels = network_input(voxels, affine, config((8, 8, 8)))[0]
        normalised = NormalizeIntensity(channel_wise=True)(torch.from_numpy(expected.numpy())).numpy()
        assert np.array_equal(pixels, normalised)
        assert pixels.strides == normalised.strides


def test_constant_channels_become_zero() -> None:
    image = np.stack([np.full((4, 4, 4), 7.0, np.float32), np.arange(64, dtype=np.float32).reshape(4, 4, 4)])
    constant, other = network_input(image, None, config((4, 4, 4)))[0]
    assert not constant.any()
    assert (other.mean(), other.std()) == pytest.approx((0, 1), abs=1e-6)


def test_padding_cropping_and_their_inverse_equal_monais(tmp_path: Path) -> None:
    """The axes are independent of each other, so one has every combination of odd and even sizes."""
    rng = np.random.default_rng(0)
    for edge, target in product(range(1, 9), repeat=2):
        settings, label = config((target, 4)), rng.integers(1, 9, (edge, 5)).astype(np.uint8)
        transform = ResizeWithPadOrCrop((target, 4))
        padded = transform(MetaTensor(torch.from_numpy(label)[None]))
        arrays = preprocess(RawCase(label[None].astype(np.float32), label, None), settings)
        assert np.array_equal(arrays.labels, padded.numpy())
        np.save(tmp_path / "reference.npy", label)
        prediction = rng.integers(1, 9, (1, target, 4)).astype(np.uint8)
        inverse = MetaTensor(torch.from_numpy(prediction), applied_operations=padded.applied_operations)
        restored = restore(prediction, PreparedCase("a", "a", settings, tmp_path))
        assert np.array_equal(restored, transform.inverse(inverse).numpy()[0])
