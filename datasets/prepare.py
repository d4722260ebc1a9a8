"""Cases made ready for a network, once, and kept as plain arrays."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import NormalizeIntensity, Orientation, ResizeWithPadOrCrop
from numpy.typing import NDArray
from pydantic import BaseModel

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.folder import Case
from stampbench.datasets.images import spacing_of
from stampbench.datasets.source import RawCase, Source

_VERSION = 1
"""Raise it when preparation changes: cached arrays of the old kind are then left alone."""


class Recipe(BaseModel, frozen=True):
    """How a case is prepared: RAS orientation, z-score per channel over the case, slicing, padding or cropping."""

    spatial_dims: int
    size: tuple[int, ...]


class PreparedCase(NamedTuple):
    """One case as a network sees it, and as it is scored.

    `images` `(n, channels, *size)` float32 and `labels` `(n, *size)` class indices are memory-mapped;
    n is 1, or the number of slices where a volume is cut into slices. `reference` is the label map in the
    case's own grid (oriented, neither padded nor cropped), with `spacing` per axis in the dataset's unit.
    """

    id: str
    subject: str
    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    spacing: tuple[float, ...]


def prepare_case(source: Source, case: Case, recipe: Recipe, identity: tuple[str, ...], cache: Path) -> PreparedCase:
    """Prepare a case or find it in `cache`, keyed by its identity (version, content, coding of labels) and recipe."""
    key = json.dumps([_VERSION, *identity, recipe.model_dump()])
    folder = cache / f"{case.id}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        try:
            arrays = _prepare(source.read(case), recipe)
        except DatasetError as error:
            raise DatasetError(f"case '{case.id}': {error}") from error
        _write(folder, *arrays)
    return PreparedCase(
        case.id,
        case.subject,
        np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        np.load(folder / "labels.npy", mmap_mode="r", allow_pickle=False),
        np.load(folder / "reference.npy", mmap_mode="r", allow_pickle=False),
        tuple(json.loads((folder / "spacing.json").read_text())),
    )


def normalise(image: NDArray[np.float32], affine: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """A whole image `(channels, *spatial)` oriented to RAS, each channel with mean 0 and standard deviation 1."""
    oriented = image if affine is None else _oriented(image, affine)[0]
    return np.asarray(NormalizeIntensity(channel_wise=True)(torch.from_numpy(oriented)), dtype=np.float32)


def unorient(labels: NDArray[np.uint8], affine: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """A label map `(*spatial)` in RAS with its axes back in the order and direction of the file."""
    if affine is None:
        return labels
    ras = nib.orientations.axcodes2ornt("RAS")
    back = nib.orientations.ornt_transform(ras, nib.orientations.io_orientation(affine))
    return np.ascontiguousarray(nib.orientations.apply_orientation(labels, back))


def restore(prediction: NDArray[np.uint8], case: PreparedCase) -> NDArray[np.uint8]:
    """Put a prepared prediction `(n, *size)` back into the grid of `case.reference`; what was cropped is background."""
    if case.reference.ndim == prediction.ndim - 1:  # one image: n is the channel
        grid = case.reference.shape
        whole: NDArray[np.uint8] = _unresize(prediction, (prediction.shape[0], *grid))[0]
        return whole
    slices = _unresize(prediction, (prediction.shape[0], *case.reference.shape[:-1]))
    volume: NDArray[np.uint8] = np.moveaxis(slices, 0, -1)
    return volume


def _unresize(prediction: NDArray[np.uint8], grid: tuple[int, ...]) -> NDArray[np.uint8]:
    resize = ResizeWithPadOrCrop(prediction.shape[1:])
    traced = resize(MetaTensor(torch.zeros(grid, dtype=torch.uint8)))
    tensor = MetaTensor(torch.from_numpy(np.array(prediction)), applied_operations=traced.applied_operations)
    restored: NDArray[np.uint8] = np.asarray(resize.inverse(tensor).numpy())
    return restored


def _prepare(
    raw: RawCase, recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8], tuple[float, ...]]:
    label = raw.label
    spacing: tuple[float, ...] = (1.0,) * label.ndim
    if raw.affine is not None:
        oriented, spacing = _oriented(label[None], raw.affine)
        label = oriented[0]
    pixels = normalise(raw.image, raw.affine)
    images, labels = pixels[None], label[None]
    if recipe.spatial_dims == 2 and label.ndim == 3:
        images, labels = np.moveaxis(pixels, -1, 0), np.moveaxis(label, -1, 0)
    resize = ResizeWithPadOrCrop(recipe.size)
    fitted = np.stack([np.asarray(resize(torch.from_numpy(np.ascontiguousarray(each)))) for each in images])
    fitted_labels = np.asarray(resize(torch.from_numpy(np.ascontiguousarray(labels))))
    return fitted, fitted_labels.astype(np.uint8), np.ascontiguousarray(label), spacing


def _oriented(volume: NDArray[np.generic], affine: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    tensor = Orientation(axcodes="RAS", labels=None)(
        MetaTensor(torch.from_numpy(np.ascontiguousarray(volume)), affine=affine)
    )
    return np.asarray(tensor.numpy()), spacing_of(np.asarray(tensor.affine))


def _write(folder: Path, images, labels, reference, spacing) -> None:  # type: ignore[no-untyped-def]
    """Write the arrays beside `folder` and rename, so that two processes never see half a case."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise DatasetError(f"cannot write prepared cases to {folder.parent}: {error.strerror or error}") from error
    try:
        np.save(unfinished / "images.npy", images, allow_pickle=False)
        np.save(unfinished / "labels.npy", labels, allow_pickle=False)
        np.save(unfinished / "reference.npy", reference, allow_pickle=False)
        (unfinished / "spacing.json").write_text(json.dumps(spacing))
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    except OSError as error:
        raise DatasetError(f"cannot write prepared cases to {folder.parent}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
