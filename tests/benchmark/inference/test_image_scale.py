"""Warnings of images whose scale differs from that of the training images."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.inference.image_scale import scale_warning
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig

PICTURES = DatasetDescription(
    synthetic=False, unit="px", channels=["x"], classes=["background", "a"], values=[0, 1],
    image_sizes=[[120, 128], [128, 160]], preprocessing=PreprocessingConfig(spatial_dims=2, size=(128, 160)),
)  # fmt: skip


def changed(**changes: object) -> DatasetDescription:
    return PICTURES.model_copy(update=changes)


def test_pictures_are_compared_by_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (1024, 1024)).save(path)
    assert str(scale_warning(path, PICTURES)).startswith(
        f"{path}: has a size of 1024×1024 px, but the training images had 120×128 to 128×160 px, so structures have "
        "another scale"
    )
    assert "the training images had 128×160 px" in str(scale_warning(path, changed(image_sizes=None)))
    Image.new("L", (200, 100)).save(path)
    assert scale_warning(path, PICTURES) is None


def test_resized_pictures_are_compared_by_the_ratio_of_their_edges(tmp_path: Path) -> None:
    described = changed(preprocessing=PICTURES.preprocessing.model_copy(update={"fit": "resize"}))
    path = tmp_path / "a.png"
    Image.new("L", (1024, 1024)).save(path)
    assert scale_warning(path, described) is None
    Image.new("L", (300, 100)).save(path)
    text = str(scale_warning(path, described))
    assert text.startswith(f"{path}: has the shape 1×3 (relative edges), but the training images had 1×1 to 1×1.333 ")
    assert scale_warning(path, described.model_copy(update={"image_sizes": None})) is None


def test_resized_volumes_are_compared_by_their_extent(tmp_path: Path) -> None:
    described = changed(
        unit="mm", spacings=[[1.0, 1.0, 3.0], [1.0, 1.0, 4.0]], image_sizes=[[200, 200, 50], [220, 220, 60]],
        preprocessing=PreprocessingConfig(spatial_dims=3, size=(32, 32, 32), fit="resize"),
    )  # fmt: skip
    for spacing, warned in ((0.5, False), (0.2, True), (2.0, True)):
        affine = np.diag([spacing, spacing, 3.0, 1.0])
        nib.save(nib.Nifti1Image(np.zeros((400, 400, 50), np.uint8), affine), tmp_path / "a.nii")
        text = scale_warning(tmp_path / "a.nii", described)
        assert (text is not None) is warned
    assert text is not None
    assert "has an extent of 800×800×150 mm, but the training images had 200×200×150 to 220×220×240 mm" in text


@pytest.mark.parametrize(("dims", "thickness", "warned"), [(2, 9, False), (3, 9, True), (3, 4, False)])
def test_volumes_are_compared_by_spacing_along_the_axes_that_the_network_sees(
    tmp_path: Path, dims: int, thickness: float, warned: bool
) -> None:
    """The file's axes are S, R, A, the recorded ones R, A, S."""
    affine = np.array([[0, 0.5, 0, 0], [0, 0, 0.8, 0], [thickness, 0, 0, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), affine), tmp_path / "a.nii.gz")
    trained = {"unit": "mm", "spacings": [[0.5, 0.8, 3.0], [0.5, 0.8, 4.0]]}
    described = changed(**trained, preprocessing=PreprocessingConfig(spatial_dims=dims, size=(32, 32, 32)[:dims]))
    text = scale_warning(tmp_path / "a.nii.gz", described)
    assert (text is not None) is warned
    if text:
        assert "voxels of 0.5×0.8×9 mm, but the training images had 0.5×0.8×3 to 0.5×0.8×4 mm" in text
    assert scale_warning(tmp_path / "a.nii.gz", described.model_copy(update={"spacings": None})) is None
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.uint8))
    assert scale_warning(tmp_path / "a.npy", described) is None  # the file has no spacing
