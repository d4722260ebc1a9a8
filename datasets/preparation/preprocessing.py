"""Preprocessing of cases into network inputs, and its inversion for predictions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from stampbench.datasets.formats.nifti import spacing_of
from stampbench.datasets.formats.voxel_limit import check_voxels
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers.reader import RawCase


class Arrays(NamedTuple):
    """The arrays of a prepared case, as described in `PreparedCase`."""

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    spacing: tuple[float, ...]


def preprocess(raw: RawCase, config: PreprocessingConfig) -> Arrays:
    """Return the network inputs of a case with their labels, and the label map that predictions are scored against."""
    label = raw.label
    spacing = raw.spacing or (1.0,) * label.ndim
    if raw.affine is not None:
        oriented, spacing = oriented_to_ras(label[None], raw.affine)
        label = oriented[0]
    _check_growth(len(raw.image), label.shape, config)
    images = network_input(raw.image, raw.affine, config)
    if config.fit == "pad":
        images = np.stack([_padded(image, config.size) for image in images])
    return Arrays(images, prepared_labels(label, config), np.ascontiguousarray(label), spacing)


def prepared_labels(label: NDArray[np.uint8], config: PreprocessingConfig) -> NDArray[np.uint8]:
    """Return the class indices `(n, *size)` of the network inputs of a case.

    Args:
        label: Class indices `(*spatial)` in RAS orientation.
        config: Preprocessing settings.
    """
    labels = label[None]
    if config.fit == "resize":
        labels = resize_labels(labels, _prepared_grid(config, label.shape))
    if config.spatial_dims < label.ndim:
        labels = np.moveaxis(labels[0], -1, 0)
    if config.fit == "pad":
        labels = _padded(labels, config.size)
    return np.ascontiguousarray(labels, np.uint8)


def _padded(images: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Return images `(n, *spatial)` padded with zeros and cropped around their centre to `(n, *size)`."""
    padded = np.zeros((len(images), *size), images.dtype)
    inner, outer = _overlap(images.shape[1:], size)
    padded[outer] = images[inner]
    return padded


def _overlap(grid: tuple[int, ...], size: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the part of images `(n, *grid)` that stays in images `(n, *size)`, and where it is there.

    Both are around the centre, as in MONAI: of an odd number of voxels that are added, the additional one is behind the
    image, and cropping moves the voxel at index `edge // 2` to index `target // 2`.
    """
    inner, outer = [slice(None)], [slice(None)]
    for edge, target in zip(grid, size, strict=True):
        first, before = max(edge // 2 - target // 2, 0), max(target - edge, 0) // 2
        inner.append(slice(first, first + min(edge, target)))
        outer.append(slice(before, before + min(edge, target)))
    return tuple(inner), tuple(outer)


def _normalised(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image `(channels, *spatial)` whose channels have mean 0 and standard deviation 1, or are 0.

    The voxels keep their order in memory, which sums of rounded numbers depend on.
    """
    pixels = torch.from_numpy(image).to(torch.float32, memory_format=torch.contiguous_format)
    normalised = torch.empty_like(pixels)
    for index, channel in enumerate(pixels):
        mean, deviation = channel.mean().item(), channel.std(unbiased=False).item()
        normalised[index] = (channel - mean) / (deviation or 1.0)
    return normalised.numpy()


def network_input(
    image: NDArray[np.float32], affine: NDArray[np.float64] | None, config: PreprocessingConfig
) -> NDArray[np.float32]:  # fmt: skip
    """Preprocess a whole image like the training images, except that it is not padded or cropped to a size.

    Args:
        image: Image `(channels, *spatial)` in the orientation of its file.
        affine: Affine of the file; None if the spacing is unknown, in which case the axes are not reoriented.
        config: Preprocessing settings.

    Returns:
        Network inputs `(n, channels, *spatial)`; n is the number of slices of a sliced volume, otherwise 1.
    """
    oriented = image if affine is None else oriented_to_ras(image, affine)[0]
    if config.fit == "resize":
        _check_growth(len(image), oriented.shape[1:], config)
        voxels = torch.from_numpy(np.ascontiguousarray(oriented))[None]
        oriented = interpolate(voxels, _prepared_grid(config, oriented.shape[1:]), mode="area")[0].numpy()
    if config.clip_range is not None:
        oriented = oriented.clip(*config.clip_range)
    pixels = _normalised(oriented)
    return np.moveaxis(pixels, -1, 0) if config.spatial_dims < pixels.ndim - 1 else pixels[None]


def resize_labels(labels: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.uint8]:
    """Resize label maps `(n, *spatial)` to `(n, *grid)` by nearest-neighbour interpolation."""
    resized: NDArray[np.uint8] = interpolate(torch.from_numpy(np.array(labels))[None], grid, mode="nearest-exact")[
        0
    ].numpy()
    return resized


def unorient(labels: NDArray[np.uint8], affine: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """Return a label map `(*spatial)` in RAS with its axes in the order and direction of the file."""
    if affine is None:
        return labels
    ras = nib.orientations.axcodes2ornt("RAS")
    to_file = nib.orientations.ornt_transform(ras, nib.orientations.io_orientation(affine))
    return np.ascontiguousarray(nib.orientations.apply_orientation(labels, to_file))


def restore(prediction: NDArray[np.uint8], case: PreparedCase) -> NDArray[np.uint8]:
    """Transform a prediction `(n, *size)` back into the grid of `case.reference`.

    Voxels that preprocessing cropped away become background.
    """
    grid = case.reference.shape
    sliced = len(grid) > case.preprocessing.spatial_dims  # If it is not sliced, n is 1.
    in_plane = grid[: case.preprocessing.spatial_dims]
    if case.preprocessing.fit == "resize":
        restored = resize_labels(prediction, in_plane)
    else:
        restored = np.zeros((len(prediction), *in_plane), prediction.dtype)
        inner, outer = _overlap(in_plane, prediction.shape[1:])
        restored[inner] = prediction[outer]
    label_map: NDArray[np.uint8] = np.moveaxis(restored, 0, -1) if sliced else restored[0]
    return label_map


def _check_growth(channels: int, shape: tuple[int, ...], config: PreprocessingConfig) -> None:
    """Check the voxels of an image that is made larger.

    Args:
        channels: number of channels.
        shape: spatial shape in RAS orientation.
        config: Preprocessing settings.

    Raises:
        DatasetError: when the prepared image has more voxels than the limit.
    """
    grid = _prepared_grid(config, shape)
    if math.prod(grid) > math.prod(shape):
        check_voxels("a prepared image", (channels, *grid))


def _prepared_grid(config: PreprocessingConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an oriented image after resizing; the number of slices does not change."""
    return (*config.size, *shape[config.spatial_dims :])


def oriented_to_ras(volume: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Return a volume `(channels, *spatial)` with its axes oriented to RAS, and the spacing of those axes in mm."""
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt("RAS"))
    oriented_affine = affine @ nib.orientations.inv_ornt_aff(change, volume.shape[1:])
    reversed_axes = tuple(1 + axis for axis, direction in enumerate(change[:, 1]) if direction < 0)
    oriented = np.ascontiguousarray(np.flip(volume, reversed_axes))
    return oriented.transpose(0, *(1 + np.argsort(change[:, 0]))), spacing_of(oriented_affine)
