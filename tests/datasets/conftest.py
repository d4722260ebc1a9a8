"""Miniatures: each dataset of the catalogue in its real file layout, with images of a few voxels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stampbench.datasets.catalogue import CATALOGUE

# Affines with axes towards (L, A, S) and (P, I, R), as scanners write them, and voxels that are not cubes.
LAS = np.diag([-0.7, 0.7, 3.0, 1.0])
PIR = np.array([[0, 0, 1.2, -60], [-0.9, 0, 0, 80], [0, -0.9, 0, 90], [0, 0, 0, 1.0]])


def scan(
    path: Path, values: Sequence[int], seed: int, shape: tuple[int, ...] = (24, 20, 18), affine: np.ndarray = PIR,
    channels: int = 1, offset: float = 0.0, label: Path | None = None,
) -> None:  # fmt: skip
    """Write an image and its label map, in which each label value is a box with its own brightness.

    Args:
        path: File of the image.
        values: Label values.
        seed: Seed of the noise and of the boxes' positions.
        shape: Spatial shape in voxels.
        affine: 4×4 affine of both files.
        channels: Number of channels.
        offset: Intensity of the background.
        label: File of the label map; None: it is not written.
    """
    rng = np.random.default_rng(seed)
    label_map = np.zeros(shape, np.uint8)
    for index, value in enumerate(values):
        corner = [min(int(rng.integers(1, 3)) + 2 * index, size - 1) for size in shape]
        box = tuple(slice(at, at + max(size // 3, 2)) for at, size in zip(corner, shape, strict=True))
        label_map[box] = value
    signal = offset + 40.0 * (label_map > 0) + 3.0 * label_map
    image = np.stack([signal + rng.normal(0, 4, shape) for _ in range(channels)], -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image((image[..., 0] if channels == 1 else image).astype(np.float32), affine), path)
    if label is not None:
        label.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(label_map, affine), label)


def msd(root: Path, name: str, channels: Sequence[str], labels: dict[int, str], cases: int, **others: object) -> None:
    """Write a dataset of the Decathlon below `root`; `others` are further arguments of `scan`."""
    folder = root / str(CATALOGUE[name].folder)
    training = []
    for number in range(cases):
        file = f"{name}_{number:03d}.nii.gz"
        scan(folder / "imagesTr" / file, [value for value in labels if value], number, channels=len(channels),
             label=folder / "labelsTr" / file, **others)  # type: ignore[arg-type]  # fmt: skip
        training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    declared = {
        "name": name,
        "modality": {str(index): channel for index, channel in enumerate(channels)},
        "labels": {str(value): label for value, label in labels.items()},
        "training": training,
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(declared))


def nfbs(root: Path) -> None:
    """Write six subjects of NFBS below `root`."""
    for number in range(6):
        id = f"A{28185 + number:08d}"
        stem = root / "NFBS_Dataset" / id / f"sub-{id}_ses-NFB3_T1w"
        scan(Path(f"{stem}.nii.gz"), [1], number, label=Path(f"{stem}_brainmask.nii.gz"))
        scan(Path(f"{stem}_brain.nii.gz"), [1], number)


def harp(root: Path) -> None:
    """Write 39 subjects of HarP with two label maps each below `root`."""
    for number in range(39):
        image = root / "HarP" / "images" / f"002_S_{number:04d}.nii.gz"
        left, right = (root / "HarP" / "labels" / f"002_S_{number:04d}_{side}.nii.gz" for side in "LR")
        scan(image, [1], number, shape=(40, 36, 38), label=left)
        mask = nib.load(left)
        nib.save(nib.Nifti1Image(np.asarray(mask.dataobj)[:, :, ::-1].copy(), mask.affine), right)


def ixi(root: Path, site: str, label: str, values: Sequence[int], subjects: int) -> None:
    """Write subjects of one site of IXI below `root`, with the label maps that `fsl_anat` would create."""
    for number in range(subjects):
        name = f"IXI{number + 12:03d}-{site}-{number:04d}-T1"
        scan(root / "IXI" / "IXI-T1" / f"{name}.nii.gz", [1], number)
        folder = root / "IXI" / f"{name}.anat"
        scan(folder / "T1_biascorr.nii.gz", values, number, label=folder / f"{label}.nii.gz")
        scan(folder / "T1.nii.gz", [1], number)


def intergrowth(root: Path) -> None:
    """Write six subjects of INTERGROWTH-21st below `root`."""
    for number in range(6):
        folder = root / "INTERGROWTH21"
        scan(folder / "images" / f"s{number}.nii", [1], number, label=folder / "labels" / f"s{number}.nii")


def acdc(root: Path) -> None:
    """Write six subjects of ACDC with two cases each below `root`."""
    folder = root / "Dataset027_ACDC"
    for number in range(12):
        case = f"patient{number // 2:03d}_frame{number % 2:02d}"
        scan(folder / "imagesTr" / f"{case}_0000.nii.gz", [1, 2, 3], number, shape=(20, 24 - number, 6),
             label=folder / "labelsTr" / f"{case}.nii.gz")  # fmt: skip
    _nnunet(folder, "cineMRI", {"background": 0, "RV": 1, "MYO": 2, "LV": 3}, 12, ".nii.gz")


def dsb2018(root: Path) -> None:
    """Write eight images of DSB 2018 below `root`."""
    folder = root / "Dataset120_DSB2018"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        label = np.zeros((24, 24), np.uint8)
        label[6:15, 4 + number : 12 + number] = 1
        image = (60 + 90 * label + rng.normal(0, 5, label.shape)).astype(np.uint8)
        Image.fromarray(image).save(folder / "imagesTr" / f"n{number}_0000.png")
        Image.fromarray(label).save(folder / "labelsTr" / f"n{number}.png")
    _nnunet(folder, "microscopy", {"background": 0, "nucleus": 1}, 8, ".png")


def _nnunet(folder: Path, channel: str, labels: dict[str, int], cases: int, ending: str) -> None:
    declared = {"channel_names": {"0": channel}, "labels": labels, "numTraining": cases, "file_ending": ending}
    (folder / "dataset.json").write_text(json.dumps(declared))


MINIATURES: dict[str, Callable[[Path], None]] = {
    "hippocampus": lambda root: msd(
        root, "hippocampus", ["MRI"], {0: "background", 1: "Anterior", 2: "Posterior"}, 6
    ),
    "prostate": lambda root: msd(
        root, "prostate", ["T2", "ADC"], {0: "background", 1: "PZ", 2: "TZ"}, 14, shape=(20, 22, 3), affine=LAS
    ),
    "cardiac": lambda root: msd(root, "cardiac", ["MRI"], {0: "background", 1: "left atrium"}, 9),
    "spleen": lambda root: msd(
        root, "spleen", ["CT"], {0: "background", 1: "spleen"}, 14, shape=(20, 22, 3), affine=LAS, offset=-20.0
    ),
    "liver": lambda root: msd(
        root, "liver", ["CT"], {0: "background", 1: "liver", 2: "cancer"}, 6, shape=(64, 64, 4), affine=LAS,
        offset=180.0,
    ),
    "nfbs": nfbs,
    "harp": harp,
    "ixi_hh": lambda root: ixi(root, "HH", "T1_biascorr_brain_mask", [1], 23),
    "ixi_guys": lambda root: ixi(root, "Guys", "T1_subcort_seg", [10, 50, 12, 17], 69),
    "intergrowth": intergrowth,
    "acdc": acdc,
    "dsb2018": dsb2018,
}  # fmt: skip


@pytest.fixture(scope="session")
def miniatures() -> dict[str, Callable[[Path], None]]:
    """Return the functions that write a miniature of each dataset below a data root, by dataset name."""
    return MINIATURES
