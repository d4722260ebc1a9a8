"""Write a dataset in the layout of nnU-Net v2: test cases beside the training cases, classes numbered from 1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from stampbench.datasets.atomic_file import new_folder
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.readers.reader import RawCase
from stampbench.datasets.split import pool


def folder_name(number: int, name: str) -> str:
    """Return the name that nnU-Net requires of a dataset's folder, such as `Dataset501_busi`."""
    return f"Dataset{number:03d}_{re.sub(r'[^A-Za-z0-9_-]+', '', name)}"


def write_nnunet(
    dataset: Dataset, folder: Path, report: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, int]:
    """Write all cases of a dataset in the grid of their files, and return the numbers of training and test cases.

    Training cases are in `imagesTr` and `labelsTr`, the cases of the test subjects in `imagesTs` and `labelsTs`.

    Args:
        dataset: The dataset.
        folder: Folder to write, which does not exist; its name is that of `folder_name`.
        report: Called with the number of written cases and the number of all, after each case.

    Raises:
        DatasetError: when the folder exists, a case cannot be read, or the folder cannot be written.
    """
    if folder.exists():
        raise DatasetError(f"{folder} exists", setting="output")
    test = set(pool(dataset.definition, dataset.images)[0])
    cases = dataset.reader.cases
    ending = ".nii.gz" if not dataset.pictures else _picture_ending(dataset.reader.read(case) for case in cases)
    held_out = sum(case.subject in test for case in cases)
    described = {
        "channel_names": {str(number): name for number, name in enumerate(dataset.channels)},
        "labels": {name: index for index, name in enumerate(dataset.classes)},
        "numTraining": len(cases) - held_out,
        "file_ending": ending,
        "name": dataset.name,
        "licence": dataset.reader.licence,
        "reference": dataset.reader.citation,
    }
    try:
        with new_folder(folder) as unfinished:
            for name in ("imagesTr", "labelsTr", *(("imagesTs", "labelsTs") if test else ())):
                (unfinished / name).mkdir()
            for done, case in enumerate(cases, start=1):
                part = "Ts" if case.subject in test else "Tr"
                raw = dataset.reader.read(case)
                for number, channel in enumerate(raw.image):
                    _write(unfinished / f"images{part}" / f"{case.id}_{number:04d}{ending}", channel, raw)
                _write(unfinished / f"labels{part}" / f"{case.id}{ending}", raw.label, raw)
                report(done, len(cases))
            (unfinished / "dataset.json").write_text(json.dumps(described, indent=2))
    except OSError as error:
        raise DatasetError(f"cannot write {folder}: {error.strerror or error}") from error
    return len(cases) - held_out, held_out


def _picture_ending(cases: Iterable[RawCase]) -> str:
    """Return `.png` if all pixels of pictures are integers that PNG can store, else `.tif`."""
    return ".png" if all(_integers(raw.image) is not None for raw in cases) else ".tif"


def _integers(pixels: NDArray[np.float32]) -> NDArray[np.generic] | None:
    """Return pixels as 8-bit or 16-bit integers; None if they are no such numbers."""
    if not (pixels == pixels.astype(np.int64)).all() or pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
        return None
    return pixels.astype(np.uint8 if pixels.max() <= np.iinfo(np.uint8).max else np.uint16)


def _write(path: Path, pixels: NDArray[np.generic], raw: RawCase) -> None:
    if path.name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(pixels, raw.affine), path)
    elif path.name.endswith(".tif"):
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(np.asarray(_integers(pixels.astype(np.float32)))).save(path)
