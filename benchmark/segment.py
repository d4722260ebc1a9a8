"""A recorded network applied to images that are not in any dataset."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
import torch
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from PIL import Image

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.validation import class_map
from stampbench.datasets import images
from stampbench.datasets.images import NIFTI, PNG, TIFF, Picture
from stampbench.datasets.prepare import normalise, unorient
from stampbench.models.network import Network

_OVERLAP = 0.5
_WINDOWS = 4


def segment_file(
    model: Network, path: Path, folder: Path, *, size: Sequence[int], values: Sequence[int], device: torch.device
) -> Path:
    """Segment an image and write the label map into `folder`, in the image's own grid, orientation and format.

    The image is prepared as the training images were: oriented to RAS, each channel z-scored over the image. Where
    it is larger than `size`, overlapping windows of that size are blended; where smaller, it is padded.

    Args:
        path: NIfTI, PNG or TIFF; of a model with several channels one file with all of them, or the first of
            nnU-Net's files, `…_0000`, beside which the others lie.
        size: what the network was trained on.
        values: the label value of each class.

    Raises:
        UserError: a wrong number of channels or dims, or an output that cannot be written.
        DatasetError: a file that cannot be read.
    """
    output = folder / _output_name(path)
    if output.resolve() == path.resolve():
        raise UserError(f"{output} is the image itself; --output has to be another folder")
    picture = _read(path, model.architecture.in_channels)
    dims, file_dims = model.architecture.spatial_dims, picture.pixels.ndim - 1
    if dims > file_dims:
        raise UserError(f"{path}: is {file_dims}D; this model segments {dims}D images")
    pixels = torch.from_numpy(normalise(picture.pixels.astype(np.float32), picture.affine))
    # Of a volume, a 2D network gets the slices along the last axis.
    batch = pixels.movedim(-1, 0) if dims < file_dims else pixels[None]
    windows = SlidingWindowInferer(tuple(size), sw_batch_size=_WINDOWS, overlap=_OVERLAP, mode="gaussian")
    model = model.to(device).eval()
    with torch.inference_mode():
        labels = torch.cat([class_map(windows(each[None].to(device), model)).cpu() for each in batch])
    whole = labels.movedim(0, -1) if dims < file_dims else labels[0]
    _write(unorient(np.ascontiguousarray(whole.numpy()), picture.affine), values, path, output)
    return output


def _read(path: Path, channels: int) -> Picture:
    picture = images.read(path)
    if len(picture.pixels) == 1 < channels and (match := re.fullmatch(r"(.*)_0000(\..*)", path.name)):
        others = [images.read(path.with_name(f"{match[1]}_{number:04d}{match[2]}")) for number in range(1, channels)]
        for number, other in enumerate(others, start=1):
            if other.pixels.shape != picture.pixels.shape:
                raise UserError(f"{path}: channel {number:04d} has another size")
        return Picture(np.concatenate([picture.pixels, *(other.pixels for other in others)]), picture.affine)
    if len(picture.pixels) != channels:
        raise UserError(f"{path}: has {len(picture.pixels)} channels; this model takes {channels}")
    return picture


def _output_name(path: Path) -> str:
    return re.sub(r"_0000(\.[^/]*)$", r"\1", path.name)


def _write(labels: NDArray[np.uint8], values: Sequence[int], path: Path, output: Path) -> None:
    """Label values of the dataset in the image's format; the file appears whole or not at all."""
    kind = np.uint8 if max(values) < 256 else np.int16
    coded = np.asarray(values, dtype=kind)[labels]
    ending = next(each for each in NIFTI + PNG + TIFF if path.name.lower().endswith(each))
    unfinished = output.with_name(f".{os.getpid()}-{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    try:
        if ending in NIFTI:
            original = nib.load(path)
            header = original.header.copy()
            header.set_data_dtype(kind)
            header.set_slope_inter(1, 0)
            nib.save(nib.Nifti1Image(coded, original.affine, header), unfinished)
        elif ending in PNG:
            Image.fromarray(coded).save(unfinished)
        else:
            tifffile.imwrite(unfinished, coded if coded.ndim == 2 else coded.transpose(2, 1, 0))
        unfinished.replace(output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
