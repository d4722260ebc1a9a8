"""Training batches: whole images in random order, or patches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.sampling import Sampler, example
from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.definition import folder_definition


def numbered_data(number: int, shape: tuple[int, ...], patch: tuple[int, ...] | None = None) -> FoldData:
    """Return images in which every voxel has a different value, so that the origin of a patch is known."""
    pixels = torch.arange(number * int(np.prod(shape)), dtype=torch.float64).view(number, 1, *shape)
    labels = torch.zeros(number, *shape, dtype=torch.uint8)
    labels[(slice(None), *(slice(edge // 2, edge // 2 + 2) for edge in shape))] = 1
    images = Images(pixels, labels, torch.arange(number))
    return FoldData(images, images, ("background", "one"), 1, patch or shape, patch)


@settings(max_examples=40)
@given(
    number=st.integers(1, 5),
    batch=st.integers(1, 4),
    edges=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 9)), min_size=2, max_size=3),
)
def test_patches_are_parts_of_images_and_tiles_cover_every_voxel(
    number: int, batch: int, edges: list[tuple[int, int]]
) -> None:
    shape, patch = tuple(edge for edge, _ in edges), tuple(min(edge, part) for edge, part in edges)
    data = numbered_data(number, shape, patch)
    sampler = Sampler(data, batch)
    tiles = [(x, y) for pixels, labels in sampler.in_order() for x, y in zip(pixels, labels, strict=True)]
    per_image = int(np.prod([-(-edge // part) for edge, part in zip(shape, patch, strict=True)]))
    assert len(tiles) == number * per_image
    assert torch.cat([x.flatten() for x, _ in tiles]).unique().numel() == data.training.pixels.numel()
    shuffled = list(sampler.shuffled(torch.Generator().manual_seed(0)))
    assert sum(len(pixels) for pixels, _ in shuffled) == number * per_image
    assert {len(pixels) for pixels, _ in shuffled[:-1]} <= {batch}
    flat = data.training.labels.flatten()
    images = []
    for pixels, labels in shuffled:
        assert pixels.shape[2:] == labels.shape[1:] == patch
        assert torch.equal(flat[pixels[:, 0].flatten().long()], labels.flatten())
        images += (pixels[:, 0].flatten(1)[:, 0] // int(np.prod(shape))).tolist()
    assert sorted(images) == [image for image in range(number) for _ in range(per_image)]


def test_half_of_the_patches_contain_foreground() -> None:
    """The foreground is a thousandth of the image; of patches at random places, one in 64 would contain some of it."""
    data = numbered_data(1, (32, 32, 32), (4, 4, 4))
    hits = [bool(label.any()) for _, labels in Sampler(data, 8).shuffled(torch.Generator().manual_seed(1))
            for label in labels]  # fmt: skip
    # Five standard errors of 512 draws with a probability of about 1/2 are 0.11.
    assert np.mean(hits) == pytest.approx(0.51, abs=0.11)


def test_foreground_patch_is_centred_on_a_foreground_voxel() -> None:
    data = numbered_data(1, (33, 33), (5, 5))
    data.training.labels.zero_()
    data.training.labels[0, 16, 20] = 1
    positions = [label.nonzero().tolist() for _, labels in Sampler(data, 8).shuffled(torch.Generator().manual_seed(0))
             for label in labels if label.any()]  # fmt: skip
    assert positions.count([[2, 2]]) > 0.7 * len(positions) > 10


def test_images_without_foreground_are_sampled() -> None:
    data = numbered_data(1, (8, 8), (4, 4))
    data.training.labels.zero_()
    assert sum(len(pixels) for pixels, _ in Sampler(data, 2).shuffled(torch.Generator())) == 4


def test_whole_images_have_the_order_of_the_generator() -> None:
    data = numbered_data(5, (4, 4))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    pixels = torch.cat([x for x, _ in Sampler(data, 2).shuffled(torch.Generator().manual_seed(3))])
    assert torch.equal(pixels, data.training.pixels[order])
    # Nothing else is drawn, so that training on whole images uses the same random numbers as before patches existed.
    generator = torch.Generator().manual_seed(3)
    list(Sampler(data, 2).shuffled(generator))
    torch.randperm(5, generator=(other := torch.Generator().manual_seed(3)))
    assert torch.equal(generator.get_state(), other.get_state())


def test_patches_of_an_epoch_depend_only_on_the_state_of_the_generator() -> None:
    data = numbered_data(2, (8, 8, 8), (4, 4, 4))
    epochs = [list(Sampler(data, 4).shuffled(torch.Generator().manual_seed(seed))) for seed in (5, 5, 6)]
    for (a, _), (b, _) in zip(epochs[0], epochs[1], strict=True):
        assert torch.equal(a, b)
    assert not all(torch.equal(a, c) for (a, _), (c, _) in zip(epochs[0], epochs[2], strict=True))


def test_example_is_the_centre_of_a_validation_image() -> None:
    data = numbered_data(2, (8, 6), (4, 2))
    assert torch.equal(example(data), data.validation.pixels[:1, :, 2:6, 2:4])


def test_large_volumes_have_a_default_patch_size(decathlon: Callable[..., Path]) -> None:
    definition = folder_definition(decathlon(shape=(20, 18, 3)))
    large = definition.model_copy(update={"size": (256, 256, 80)})
    assert open_dataset(definition).patch is None
    assert open_dataset(large).patch == (128, 128, 80)
    assert open_dataset(large.model_copy(update={"patch": None})).patch is None
    assert open_dataset(large.model_copy(update={"patch": (256, 256, 5)})).patch == (256, 256, 5)
    assert open_dataset(large.model_copy(update={"patch": (300, 256, 96)})).patch is None  # as large as the image
    assert open_dataset(large.model_copy(update={"spatial_dims": 2, "size": (512, 512)})).patch is None
