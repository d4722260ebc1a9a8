"""Augmentation of training images."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from stampbench.benchmark.config.protocol import Augmentation
from stampbench.benchmark.training.fold_data import Pair

_IMAGE, _LABEL = "image", "label"
_BOTH = (_IMAGE, _LABEL)


def augmentation(name: Augmentation, dims: int, mirror: int) -> Callable[[Pair, int], Pair] | None:
    """Return a function that augments each image of a batch, given a seed; None for the name `none`.

    `flip` mirrors every second image on average, left to right (Celaya et al. 2022, §2.2, for LiTS). `mirror` does so
    along each axis by itself, as nnU-Net does. `monai` is
    MONAI's standard set: the flip, rotation by up to 15° and scaling by up to 15 %, noise, blur, contrast, intensity.

    Args:
        name: name of the augmentation.
        dims: spatial dims.
        mirror: the spatial axis from left to right.
    """
    if name == "none":
        return None
    from monai.transforms import (  # they take a second, which other training does not need
        Compose,
        EnsureTyped,
        RandAdjustContrastd,
        RandAffined,
        RandFlipd,
        RandGaussianNoised,
        RandGaussianSmoothd,
        RandScaleIntensityd,
    )

    flip = RandFlipd(_BOTH, prob=0.5, spatial_axis=mirror)
    turn = math.radians(15)
    simple = {"flip": [flip], "mirror": [RandFlipd(_BOTH, prob=0.5, spatial_axis=axis) for axis in range(dims)]}
    steps = simple.get(name) or [
        flip,
        RandAffined(
            _BOTH,
            prob=0.5,
            rotate_range=(turn,) * (1 if dims == 2 else 3),
            scale_range=(0.15,) * dims,
            mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        RandGaussianNoised(_IMAGE, prob=0.15, std=0.1),
        RandGaussianSmoothd(_IMAGE, prob=0.15),
        RandScaleIntensityd(_IMAGE, factors=0.25, prob=0.15, channel_wise=True),
        RandAdjustContrastd(_IMAGE, prob=0.15, gamma=(0.7, 1.5), retain_stats=True),
    ]  # fmt: skip
    transform = Compose([*steps, EnsureTyped(_BOTH, track_meta=False)])

    def augment(batch: Pair, seed: int) -> Pair:
        transform.set_random_state(seed)
        changed = [
            transform({_IMAGE: pixels, _LABEL: labels[None]}) for pixels, labels in zip(*batch, strict=True)
        ]  # fmt: skip
        return (
            torch.stack([each[_IMAGE] for each in changed]),
            torch.stack([each[_LABEL][0] for each in changed]).to(batch[1].dtype),
        )

    return augment
