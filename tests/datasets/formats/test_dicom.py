"""DICOM series and images, and the masks of DICOM-SEG and RTSTRUCT files on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io

VOLUME = np.random.default_rng(0).integers(-1000, 1000, (12, 10, 8)).astype(np.int16)
SIDES = [(1, 2), (7, 2), (7, 6), (1, 6)]


def rectangle(z: float, *, shift: float = 0.5) -> np.ndarray:
    """Corners between voxels: 6×4 voxels are inside, from (2, 3) to (7, 6)."""
    return np.array([(x + shift, y + shift, z) for x, y in SIDES])


def test_a_series_is_a_volume_in_hu_whatever_the_names_of_its_files(dicom: ModuleType, tmp_path: Path) -> None:
    dicom.series(tmp_path, VOLUME)
    path = tmp_path / "1-003.dcm"
    picture = image_io.read(path)
    assert np.array_equal(picture.pixels[0], VOLUME)
    # The first voxel is 10 mm to the right of the origin, 20 mm behind and 30 mm above it.
    expected = np.array([[-0.8, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    assert picture.affine == pytest.approx(expected)
    assert image_io.shape(path) == (12, 10, 8)
    assert image_io.spacing(path) == pytest.approx((0.8, 0.5, 2.5))
    assert image_io.first(path) == tmp_path / "1-001.dcm"
    assert len(image_io.companions(path)) == 7


def test_a_series_is_what_simpleitk_reads(dicom: ModuleType, tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    angle = [0.8, 0.6, 0, 0, 0, -1]
    positions = dicom.series(tmp_path, VOLUME)
    for z, data in enumerate(positions):  # an oblique stack: its normal is the cross product of rows and columns
        data.ImageOrientationPatient = angle
        data.ImagePositionPatient = list(np.array([5, 6, 7]) + z * 2.5 * np.cross(angle[:3], angle[3:]))
        dicom.save(data, tmp_path / f"1-{8 - z:03d}.dcm")
    image = itk.ReadImage(itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    picture = image_io.read(tmp_path / "1-001.dcm")
    assert picture.affine is not None
    for index in ((0, 0, 0), (11, 9, 7), (3, 8, 2)):
        point = np.array([-1, -1, 1]) * (picture.affine @ [*index, 1])[:3]
        assert image.TransformPhysicalPointToIndex(point.tolist()) == index
        assert image[index] == picture.pixels[(0, *index)]


def test_a_single_image_without_a_position_is_a_picture_with_bright_high_values(
    dicom: ModuleType, tmp_path: Path
) -> None:
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    dicom.radiograph(tmp_path / "a.dcm", pixels)
    dicom.radiograph(tmp_path / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(image_io.read(tmp_path / "a.dcm").pixels, pixels[None])
    assert image_io.shape(tmp_path / "a.dcm") == (4, 5)
    inverted = image_io.read(tmp_path / "b.dcm").pixels[0]
    assert inverted[0, 0] > inverted[3, 4]
    assert np.ptp(inverted) == 19


def test_segments_are_masks_in_the_grid_of_their_series(dicom: ModuleType, tmp_path: Path) -> None:
    sources = dicom.series(tmp_path / "ct", VOLUME)
    masks = {"Liver": np.zeros(VOLUME.shape, bool), "Lesion 1": np.zeros(VOLUME.shape, bool)}
    masks["Liver"][2:7, 3:5, 2:6] = True
    masks["Lesion 1"][4:9, 3:4, 3:4] = True  # within the liver, and beyond
    path, image = tmp_path / "seg.dcm", tmp_path / "ct" / "1-001.dcm"
    dicom.segmentation(path, sources, masks)
    assert image_io.structures(path) == ("Liver", "Lesion 1")
    assert image_io.first(path) is None
    for name, mask in masks.items():
        assert np.array_equal(image_io.mask(path, (name.lower(),), image), mask)
    assert np.array_equal(image_io.mask(path, ("Liver", "Lesion 1"), image), masks["Liver"] | masks["Lesion 1"])


def test_contours_are_filled_and_have_holes(dicom: ModuleType, tmp_path: Path) -> None:
    sources = dicom.series(tmp_path / "ct", VOLUME)
    hole = np.array([(x + 0.5, y + 0.5, 3) for x, y in ((3, 3), (5, 3), (5, 5), (3, 5))])
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([5.5 + 4 * np.cos(angles), 4.5 + 4 * np.sin(angles), np.full(200, 5)], -1)
    path, image = tmp_path / "rt.dcm", tmp_path / "ct" / "1-001.dcm"
    dicom.contours(path, sources, {"GTV-1": [rectangle(2), rectangle(3), hole], "Round": [circle]})
    expected = np.zeros(VOLUME.shape, np.uint8)
    expected[2:8, 3:7, 2:4] = 1
    expected[4:6, 4:6, 3] = 0
    assert np.array_equal(image_io.mask(path, ("GTV-1",), image), expected)
    x, y = np.meshgrid(range(12), range(10), indexing="ij")
    inside = (x - 5.5) ** 2 + (y - 4.5) ** 2 < 16
    found = image_io.mask(path, ("round",), image)
    assert np.array_equal(found[..., 5], inside)
    assert found.sum() == inside.sum()


def change_a_slice(name: str, value: Any) -> Callable[[ModuleType, Path], None]:
    def change(dicom: ModuleType, folder: Path) -> None:
        sources = dicom.series(folder, VOLUME)
        setattr(sources[3], name, value)
        dicom.save(sources[3], folder / "1-005.dcm")

    return change


def lose_a_slice(dicom: ModuleType, folder: Path) -> None:
    dicom.series(folder, VOLUME)
    (folder / "1-005.dcm").unlink()


def compress(dicom: ModuleType, folder: Path) -> None:
    """Claim lossless JPEG, for which no decoder is installed."""
    for number, data in enumerate(dicom.series(folder, VOLUME), start=1):
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.70"
        data.PixelData = dicom.pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        data["PixelData"].VR = "OB"
        dicom.save(data, folder / f"1-{number:03d}.dcm")


def deflate(dicom: ModuleType, folder: Path) -> None:
    for number, data in enumerate(dicom.series(folder, VOLUME), start=1):
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        dicom.save(data, folder / f"1-{number:03d}.dcm")


def cut(dicom: ModuleType, folder: Path) -> None:
    dicom.series(folder, VOLUME)
    path = folder / "1-005.dcm"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lose_a_slice, "7 slices of its series are not equally spaced: one is missing"),
        (change_a_slice("ImagePositionPatient", [-10, 20, 30]), "is there twice"),
        (change_a_slice("PixelSpacing", [1, 1]), "differ in PixelSpacing"),
        (change_a_slice("ImageOrientationPatient", [0, 1, 0, 0, 0, 1]), "not equally spaced"),
        (change_a_slice("ImagePositionPatient", None), "has no ImagePositionPatient; 8 files are no volume"),
        (compress, "cannot be decoded, which may need another package"),
        (deflate, "deflated as a whole"),
        (cut, "cannot be"),
    ],
)
def test_what_is_no_volume_is_one_line(
    damage: Callable[[ModuleType, Path], None], problem: str, dicom: ModuleType, tmp_path: Path
) -> None:
    damage(dicom, tmp_path)
    with pytest.raises(DatasetError, match=problem) as error:
        image_io.read(tmp_path / "1-001.dcm")
    assert str(error.value).startswith(f"{tmp_path}")
    assert "\n" not in str(error.value)


def test_structures_that_do_not_fit_are_one_line(dicom: ModuleType, tmp_path: Path) -> None:
    sources = dicom.series(tmp_path / "ct", VOLUME)
    others = dicom.series(tmp_path / "other", VOLUME)
    image, rt, seg = tmp_path / "ct" / "1-001.dcm", tmp_path / "rt.dcm", tmp_path / "seg.dcm"
    mask = np.zeros(VOLUME.shape, bool)
    mask[3:6, 3:6, 3:6] = True
    dicom.segmentation(seg, sources, {"Liver": mask})
    for polygon, problem in ((rectangle(2.5), "does not lie on a slice"), (rectangle(9), "lies outside its image")):
        dicom.contours(rt, sources, {"GTV": [polygon]})
        with pytest.raises(DatasetError, match=problem):
            image_io.mask(rt, ("GTV",), image)
    dicom.contours(rt, sources, {"GTV": [rectangle(2)]}, ContourGeometricType="OPEN_PLANAR")
    with pytest.raises(DatasetError, match="is OPEN_PLANAR; closed planar"):
        image_io.mask(rt, ("GTV",), image)
    with pytest.raises(DatasetError, match="has no structure 'Heart' or 'COR'; it has Liver"):
        image_io.mask(seg, ("Heart", "COR"), image)
    with pytest.raises(DatasetError, match="has structures \\(Liver\\) and no image"):
        image_io.read(seg)
    for path, name in ((seg, "Liver"), (rt, "GTV")):
        with pytest.raises(DatasetError, match="are not those of its image"):
            image_io.mask(path, (name,), tmp_path / "other" / "1-001.dcm")
    for data in others:  # the same coordinates, but shifted by a third of a pixel
        data.FrameOfReferenceUID = sources[0].FrameOfReferenceUID
        data.ImagePositionPatient = [-10 + 0.3, 20, data.ImagePositionPatient[2]]
        dicom.save(data, tmp_path / "other" / f"1-{data.InstanceNumber:03d}.dcm")
    with pytest.raises(DatasetError, match="its grid is not that of its image"):
        image_io.mask(seg, ("Liver",), tmp_path / "other" / "1-001.dcm")
    nib.save(nib.Nifti1Image(np.zeros((12, 10, 4), np.uint8), image_io.read(image).affine), tmp_path / "short.nii")
    with pytest.raises(DatasetError, match="18 voxels lie outside its image"):
        image_io.mask(seg, ("Liver",), tmp_path / "short.nii")


def test_formats_say_which_extra_they_need(dicom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom.series(tmp_path, VOLUME)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(DatasetError, match=r"DICOM files need the extra 'formats'; run: pip install 'stampbench\[for"):
        image_io.read(tmp_path / "1-001.dcm")
