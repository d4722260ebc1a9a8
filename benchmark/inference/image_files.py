"""Segmentation of image files that are not part of a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import gt
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.environment.part_times import PartTimes
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.label_maps import class_map, postprocess
from stampbench.benchmark.inference.sliding_window import whole_or_windows
from stampbench.datasets.atomic_file import whole_file
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.dicom_files import DICOM
from stampbench.datasets.formats.image_io import endings, ras_shape
from stampbench.datasets.formats.picture import Picture
from stampbench.datasets.preparation.preprocessing import network_input, resize_labels, unorient
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.readers.reader import check_same_space
from stampbench.models.model import Model

_ONE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}
"""Endings of formats with header and voxels in two files, and of the same formats in one file."""


def find_images(paths: Sequence[Path], channels: int) -> list[Path]:
    """Return image files, with each folder replaced by the images in it, in the order of their names.

    Args:
        paths: files and folders.
        channels: channels of the model; if there are several, `…_0001` and so on are channels of `…_0000`.

    Raises:
        UserError: when a folder contains no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        images = sorted(
            each
            for each in path.iterdir()
            if each.name.lower().endswith(endings()) and not each.name.startswith(".")
            if channels == 1 or not _is_further_channel(each)
            if image_io.first(each) == each
        )
        if not images:
            raise UserError(f"{path}: contains no images; supported are {', '.join(endings())}")
        found += images
    return found


def _is_further_channel(path: Path) -> bool:
    first = re.sub(r"_\d{4}(\.[^/]*)$", r"_0000\1", path.name)
    return first != path.name and path.with_name(first).is_file()


def output_paths(paths: Sequence[Path], folder: Path, *, force: bool) -> list[Path]:
    """Return the path of each image's label map.

    Args:
        paths: image files.
        folder: folder of the label maps.
        force: whether existing label maps may be overwritten.

    Raises:
        UserError: when two images would get the same label map, or it exists and `force` is false.
    """
    outputs = [folder / _output_name(path) for path in paths]
    for path, output in zip(paths, outputs, strict=True):
        if outputs.count(output) > 1:
            raise UserError(f"{output} would be the label map of {path} and of another image")
        if output.resolve() == path.resolve():
            raise UserError(f"{output} is the image itself; choose another output folder", setting="output")
        if output.exists() and not force:
            raise UserError(f"{output} exists", setting="force")
    return outputs


def segment_file(
    model: Model,
    path: Path,
    output: Path,
    *,
    preprocessing: PreprocessingConfig,
    values: Sequence[int],
    settings: EvaluationSettings,
    device: torch.device,
    times: PartTimes | None = None,
) -> Path:
    """Segment an image and write its label map in the image's own grid and orientation.

    The label map has the image's format; it is a PNG file for JPEG, BMP and GIF images, and a NIfTI file for a DICOM
    series.

    The image is prepared as the training images were. If it is larger than they were, overlapping windows of their
    size are blended; if it is smaller, it is padded.

    Args:
        model: the network.
        path: an image file; for a model with several channels one file with all of them, or the first of
            nnU-Net's files, `…_0000`, beside the others.
        output: file of the label map.
        preprocessing: how the training images were prepared.
        values: label value of each class.
        settings: patch or image size of the training, and post-processing.
        device: where to compute.
        times: adds up the time of reading, preparation, network, restoring and writing.

    Raises:
        UserError: when channels or dims do not fit the model, or the output cannot be written.
        DatasetError: when a file cannot be read.
    """
    times = times or PartTimes()
    with times.part("reading"):
        picture = _read(path, model.architecture.in_channels)
    shape = _checked_shape(picture, path, model, preprocessing)
    with times.part("preparation"):
        batch = network_input(picture.pixels.astype(np.float32), picture.affine, preprocessing)
    with times.part("network"), torch.inference_mode():
        infer = whole_or_windows(model.to(device).eval(), settings.patch_size or settings.image_size)
        parts = [class_map(infer(torch.from_numpy(np.array(each))[None].to(device))).cpu() for each in batch]
        labels = torch.cat(parts).numpy()
    with times.part("restoring"):
        dims, file_dims = model.architecture.spatial_dims, picture.pixels.ndim - 1
        if preprocessing.fit == "resize":
            labels = resize_labels(labels, shape[:dims])
        label_map = np.ascontiguousarray(np.moveaxis(labels, 0, -1) if dims < file_dims else labels[0])
        label_map = unorient(postprocess(label_map, settings.postprocessing), picture.affine)
    with times.part("writing"):
        _write(label_map, values, path, output)
    return output


def _checked_shape(
    picture: Picture, path: Path, model: Model, preprocessing: PreprocessingConfig
) -> tuple[int, ...]:  # fmt: skip
    """Return the shape of an image in RAS orientation, if the model can segment it."""
    dims, file_dims = model.architecture.spatial_dims, picture.pixels.ndim - 1
    if dims > file_dims:
        raise UserError(f"{path}: the image is {file_dims}D; this model segments {dims}D images")
    shape = ras_shape(picture.pixels.shape[1:], picture.affine)
    if preprocessing.crop is not None and any(map(gt, shape, preprocessing.crop)):
        raise UserError(
            f"{path}: this model was trained on boxes of {'×'.join(map(str, preprocessing.crop))} voxels cut around "
            "the structure, with the intensities of the box; cut such a box first"
        )
    return shape


def _read(path: Path, channels: int) -> Picture:
    picture = _in_channels(image_io.read(path), channels)
    if len(picture.pixels) == 1 < channels and (match := re.fullmatch(r"(.*)_0000(\..*)", path.name)):
        others = [image_io.read(path.with_name(f"{match[1]}_{number:04d}{match[2]}")) for number in range(1, channels)]
        for number, other in enumerate(others, start=1):
            check_same_space(path.with_name(f"{match[1]}_{number:04d}{match[2]}"), other, picture)
            if other.pixels.shape != picture.pixels.shape:
                raise UserError(f"{path}: channel {number:04d} has another size than the first")
        return Picture(np.concatenate([picture.pixels, *(other.pixels for other in others)]), picture.affine)
    if len(picture.pixels) != channels:
        raise UserError(f"{path}: the image has {len(picture.pixels)} channels; this model takes {channels}")
    return picture


def _in_channels(picture: Picture, channels: int) -> Picture:
    """Return a 2D image without transparency if nothing is transparent, and with equal colours as one channel."""
    pixels = picture.pixels
    if pixels.ndim == 3 and len(pixels) in (2, 4) and len(pixels) > channels and len(np.unique(pixels[-1])) == 1:
        pixels = pixels[:-1]
    if len(pixels) == 3 and channels == 1 and (pixels == pixels[:1]).all():
        pixels = pixels[:1]
    return picture._replace(pixels=pixels)


def _output_name(path: Path) -> str:
    name = re.sub(r"_0000(\.[^/]*)$", r"\1", path.name)
    if path.suffix.lower() in DICOM:
        if image_io.companions(path):  # the files of a series have names that are the same for all series
            name = path.absolute().parent.name + path.suffix
        return Path(name).stem + (".nii.gz" if len(image_io.shape(path)) == 3 else ".png")
    name = f"{Path(name).stem}{_ONE_FILE[path.suffix.lower()]}" if path.suffix.lower() in _ONE_FILE else name
    # JPEG would change label values, and GIF and BMP are of no use for label maps.
    return f"{Path(name).stem}.png" if image_io.format_of(path).write is None else name


def _write(labels: NDArray[np.uint8], values: Sequence[int], path: Path, output: Path) -> None:
    """Write the dataset's label values in the image's format, to a temporary name that is then renamed."""
    coded = np.asarray(values, dtype=np.min_scalar_type(max(values)))[labels]
    write = None if output.suffix == ".png" else image_io.format_of(path).write
    if write is None and coded.ndim != 2:
        raise UserError(f"cannot write {output}: label maps of volumes in this format cannot be written")
    try:
        with whole_file(output) as unfinished:
            if write is None:
                Image.fromarray(coded).save(unfinished, format="png")
            else:
                write(path, unfinished, coded)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
