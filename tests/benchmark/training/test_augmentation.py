"""Augmentation of training images."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from stampbench.benchmark.training.augmentation import augmentation


def images_and_labels(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return six images of two channels that are bright where their labels are."""
    labels = torch.zeros(6, *shape, dtype=torch.uint8)
    labels[:, 3:9, 2:7] = 1
    labels[:, 10:13, 8:14] = 2
    noise = torch.randn(6, 2, *shape, generator=torch.Generator().manual_seed(seed))
    return labels[:, None].float() * 4 + 0.1 * noise, labels


def test_augmentation_none_does_nothing() -> None:
    assert augmentation("none", 2, 0) is None


@pytest.mark.parametrize(("shape", "mirror"), [((16, 16), 1), ((16, 16), 0), ((16, 16, 4), 0)])
def test_flip_mirrors_image_and_label_left_to_right(shape: tuple[int, ...], mirror: int) -> None:
    augment = augmentation("flip", len(shape), mirror)
    assert augment is not None
    pixels, labels = images_and_labels(shape)
    flipped = 0
    for seed in range(4):
        for x, y, before, label in zip(*augment((pixels, labels), seed), pixels, labels, strict=True):
            mirrored = torch.equal(x, before.flip(mirror + 1))
            assert mirrored or torch.equal(x, before)
            assert torch.equal(y, label.flip(mirror) if mirrored else label)
            flipped += mirrored
    assert 4 <= flipped <= 20  # of 24


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 16)])
def test_monai_augmentation_transforms_images_and_labels_alike(shape: tuple[int, ...]) -> None:
    augment = augmentation("monai", len(shape), 0)
    assert augment is not None
    pixels, labels = images_and_labels(shape)
    before = pixels.clone()
    x, y = augment((pixels, labels), 7)
    assert torch.equal(pixels, before)
    assert (x.shape, y.shape, y.dtype) == (pixels.shape, labels.shape, torch.uint8)
    assert type(x) is torch.Tensor
    assert set(y.unique().tolist()) <= {0, 1, 2}
    assert not torch.equal(y, labels)
    for image, label in zip(x, y, strict=True):  # images are still bright where the labels are
        assert float(torch.corrcoef(torch.stack([image[0].flatten(), label.flatten().float()]))[0, 1]) > 0.85
    same_seed, other_seed = augment((pixels, labels), 7), augment((pixels, labels), 8)
    assert torch.equal(x, same_seed[0])
    assert not torch.equal(x, other_seed[0])


def test_augmentation_is_part_of_the_protocol(stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for name in ("none", "flip"):
        assert stampbench(
            "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol",
            "quick", "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol-set",
            f"augmentation={name}",
        )[0] == 0  # fmt: skip
    labels = {json.loads(path.read_text())["protocol_label"] for path in tmp_path.rglob("run.json")}
    assert labels == {"quick (max_epochs=2)", "quick (augmentation=flip, max_epochs=2)"}
    losses = {pd.read_csv(path)["training_loss"].iloc[-1] for path in tmp_path.rglob("trajectory.csv")}
    assert len(losses) == 2


def test_mirroring_is_drawn_for_each_axis() -> None:
    augment = augmentation("mirror", 3, 0)
    assert augment is not None
    pixels, labels = images_and_labels((16, 16, 16))
    seen = set()
    for seed in range(8):
        for x, y, before, label in zip(*augment((pixels, labels), seed), pixels, labels, strict=True):
            axes = next(
                axes
                for axes in itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(4))
                if torch.equal(x, before.flip([axis + 1 for axis in axes]))
            )
            assert torch.equal(y, label.flip(axes))
            seen.add(axes)
    assert len(seen) == 8
