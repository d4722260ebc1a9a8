"""Opening datasets, preparing their cases, and restoring predictions to the original grid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.definition import folder_definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing import restore


def prepare_all(dataset: Dataset) -> dict[str, PreparedCase]:
    """Prepare all cases of a dataset."""
    return dataset.prepare([case.id for case in dataset.reader.cases])


def test_volumes_are_sliced_normalised_and_padded(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    folder = decathlon(cases=2)
    definition = folder_definition(folder).model_copy(update={"spatial_dims": 2, "size": (32, 16)})
    case = prepare_all(open_dataset(definition))["case_00"]
    assert case.images.shape == (3, 2, 32, 16)
    assert case.labels.shape == (3, 32, 16)
    assert case.reference.shape == (20, 18, 3)
    assert case.spacing == (0.6, 0.6, 4.0)
    raw = nib.load(folder / "imagesTr" / "case_00.nii.gz").get_fdata()
    expected = (raw - raw.mean((0, 1, 2))) / raw.std((0, 1, 2))
    # 32 − 20 = 12, so there are six rows of padding before the image; 18 − 16 = 2, so each side loses one column.
    np.testing.assert_allclose(case.images[1, :, 6:26, :], expected[:, 1:17, 1].transpose(2, 0, 1), atol=1e-4)
    assert not case.images[1, :, :6].any()


def test_label_spacing_and_size_are_oriented_to_ras(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    affine = np.array([[0, 0, -3.0, 7], [1, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]])
    folder = decathlon(cases=1, shape=(8, 12, 16), channels=("CT",), affine=affine)
    dataset = open_dataset(folder_definition(folder))
    case = prepare_all(dataset)["case_00"]
    label = np.asarray(nib.load(folder / "labelsTr" / "case_00.nii.gz").dataobj)
    # The voxel axes are (A, I, L): R is the third axis reversed, A the first, and S the second reversed.
    expected = label.transpose(2, 0, 1)[::-1, :, ::-1]
    assert np.array_equal(case.reference, expected)
    assert case.spacing == (3.0, 1.0, 2.0)
    assert dataset.size == (16, 16, 16)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("size", [(16, 32, 16), (16, 16, 16), (32, 32, 32)])
def test_restore_undoes_padding_and_cropping(
    decathlon: Callable[..., Path], tmp_path: Path, dims: int, size: tuple[int, ...]
) -> None:
    folder = decathlon(cases=1, shape=(17, 22, 13))
    definition = folder_definition(folder).model_copy(update={"spatial_dims": dims, "size": size[:dims]})
    case = prepare_all(open_dataset(definition))["case_00"]
    restored = restore(np.asarray(case.labels), case)
    assert restored.shape == case.reference.shape
    covered = restore(np.ones_like(case.labels), case) == 1
    sliced = zip(case.reference.shape[:dims], size, strict=False)
    covered_shape = [min(edge, target) for edge, target in sliced] + list(case.reference.shape[dims:])
    assert covered.sum() == np.prod(covered_shape)
    assert np.array_equal(restored, np.where(covered, case.reference, 0))


def test_distances_in_png_images_are_in_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset900_Dots"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for number, (height, width) in enumerate([(20, 30), (33, 17)]):
        label = np.zeros((height, width), np.uint8)
        label[3:9, 4:8] = 5
        Image.fromarray(label).save(folder / "labelsTr" / f"dot_{number}.png")
        Image.fromarray(np.stack([label * 9] * 3, axis=-1)).save(folder / "imagesTr" / f"dot_{number}_0000.png")
    declared = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "dot": 5}}
    (folder / "dataset.json").write_text(json.dumps({**declared, "file_ending": ".png"}))
    dataset = open_dataset(folder_definition(folder))
    assert (dataset.unit, dataset.spatial_dims, dataset.size) == ("px", 2, (48, 32))
    case = prepare_all(dataset)["dot_0"]
    assert case.images.shape == (1, 3, 48, 32)
    assert np.unique(case.labels).tolist() == [0, 1]


def test_prepared_cases_are_cached_and_a_changed_file_is_prepared_again(
    decathlon: Callable[..., Path], tmp_path: Path
) -> None:
    folder, cache = decathlon(cases=2), tmp_path / "cache"
    before = open_dataset(folder_definition(folder))
    prepare_all(before)
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    prepare_all(open_dataset(folder_definition(folder)))
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")} == written
    changed = folder / "labelsTr" / "case_01.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((20, 18, 3), np.uint8), np.diag([0.6, 0.6, 4.0, 1.0])), changed)
    after = open_dataset(folder_definition(folder))
    assert after.checksum != before.checksum
    assert not prepare_all(after)["case_01"].labels.any()
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_an_unusable_case_is_refused_with_its_name(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    folder = decathlon(cases=1)
    label, image = folder / "labelsTr" / "case_00.nii.gz", folder / "imagesTr" / "case_00.nii.gz"
    affine = np.diag([0.6, 0.6, 4.0, 1.0])
    good = label.read_bytes()

    def message() -> str:
        with pytest.raises(DatasetError) as raised:
            prepare_all(open_dataset(folder_definition(folder)))
        assert "case_00" in str(raised.value)
        return str(raised.value)

    nib.save(nib.Nifti1Image(np.zeros((20, 18, 4), np.uint8), affine), label)
    assert "the label map has size 20×18×4, but the image has size 20×18×3" in message()
    nib.save(nib.Nifti1Image(np.full((20, 18, 3), 7, np.uint8), affine), label)
    assert "label value 7 is not declared; declared are 0, 1, 2" in message()
    nib.save(nib.Nifti1Image(np.full((20, 18, 3), 0.5, np.float32), affine), label)
    assert "label value 0.5" in message()
    label.write_bytes(good)
    nib.save(nib.Nifti1Image(np.zeros((20, 18, 3), np.float32), affine), image)
    assert "has 1 channels, but 2 are declared (T2, ADC)" in message()


def test_a_changed_mapping_of_labels_prepares_the_case_again(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    """The label map contains the value 2; dataset.json determines whether that is the first or the second class."""
    folder = decathlon(cases=1, classes=("background", "PZ", "TZ"))
    label = folder / "labelsTr" / "case_00.nii.gz"
    nib.save(nib.Nifti1Image(np.full((20, 18, 3), 2, np.uint8), np.diag([0.6, 0.6, 4.0, 1.0])), label)
    declared = json.loads((folder / "dataset.json").read_text())
    checksums = set()
    for labels, index in (({"0": "background", "2": "a"}, 1), ({"0": "background", "1": "b", "2": "a"}, 2)):
        (folder / "dataset.json").write_text(json.dumps({**declared, "labels": labels}))
        dataset = open_dataset(folder_definition(folder))
        checksums.add(dataset.checksum)
        assert np.unique(prepare_all(dataset)["case_00"].reference).tolist() == [index]
    assert len(checksums) == 2
    (folder / "dataset.json").write_text(json.dumps({**declared, "labels": {"0": "background", "1": "b"}}))
    with pytest.raises(DatasetError, match="label value 2 is not declared"):
        prepare_all(open_dataset(folder_definition(folder)))


@pytest.mark.parametrize(
    "affine",
    [np.diag([-0.6, 0.6, 4.0, 1.0]), np.diag([0.6, 0.6, 3.0, 1.0]), np.diag([0.6, 0.6, 4.0, 1.0]) + np.eye(4, k=3) * 2],
)
def test_a_label_map_with_a_different_affine_is_refused(
    decathlon: Callable[..., Path], tmp_path: Path, affine: np.ndarray
) -> None:
    folder = decathlon(cases=1)
    nib.save(nib.Nifti1Image(np.zeros((20, 18, 3), np.uint8), affine), folder / "labelsTr" / "case_00.nii.gz")
    with pytest.raises(DatasetError, match=r"case_00.*affine"):
        prepare_all(open_dataset(folder_definition(folder)))


def test_missing_datasets_are_reported_with_their_folder_and_the_remedy(tmp_path: Path) -> None:
    for name in ("hippocampus", "prostate", "cardiac", "spleen"):
        with pytest.raises(DatasetError, match="STAMPBENCH_DATA"):
            open_dataset(CATALOGUE[name])
        with pytest.raises(
            DatasetError,
            match=f"folder {tmp_path / str(CATALOGUE[name].folder)} not found.*stampbench datasets download {name}",
        ):
            open_dataset(CATALOGUE[name], tmp_path)


def test_a_cache_that_cannot_be_written_is_named(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=f"cannot write {tmp_path / 'file'}"):
        prepare_all(open_dataset(folder_definition(decathlon(cases=1)), cache=tmp_path / "file"))


def test_real_hippocampus_cases_are_normalised_and_restored(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(CATALOGUE["hippocampus"], real_data)
    assert dataset.classes == ("background", "Anterior", "Posterior")
    chosen = [case.id for case in dataset.reader.cases[:3]]
    for case in dataset.prepare(chosen).values():
        assert case.images.shape == (1, 1, 48, 64, 48)
        assert abs(float(case.images[case.images != 0].mean())) < 1e-3
        assert np.array_equal(restore(np.asarray(case.labels), case), case.reference)


@pytest.mark.parametrize("content", ["[]", '{"case_00": {}}', '{"case_00": 3}', '{"case', ""])
def test_a_damaged_index_of_checksums_is_written_again(
    content: str, decathlon: Callable[..., Path], tmp_path: Path
) -> None:
    folder = decathlon(cases=2)
    checksum = open_dataset(folder_definition(folder)).checksum
    index = tmp_path / "cache" / "Task05_Prostate" / "checksums.json"
    index.write_text(content)
    assert open_dataset(folder_definition(folder)).checksum == checksum
    assert json.loads(index.read_text()).keys() == {"case_00", "case_01"}


def test_a_damaged_prepared_case_is_reported_with_the_remedy(decathlon: Callable[..., Path]) -> None:
    case = prepare_all(open_dataset(folder_definition(decathlon(cases=1))))["case_00"]
    (case.folder / "images.npy").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=rf"images\.npy: is damaged .*delete {re.escape(str(case.folder))} to prepare it again"
    ):
        _ = case.images


def test_a_subject_pattern_whose_group_matches_nothing_is_refused(decathlon: Callable[..., Path]) -> None:
    definition = folder_definition(decathlon(cases=3)).model_copy(update={"subject_pattern": r"case_(?:00|(\d+))"})
    with pytest.raises(DatasetError, match=r"case 'case_00': the group of the subject pattern .* matches nothing"):
        open_dataset(definition)


def test_a_folder_without_channels_is_refused(decathlon: Callable[..., Path]) -> None:
    folder = decathlon(cases=1)
    declared = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(declared | {"modality": {}}))
    with pytest.raises(DatasetError, match="declares no channels"):
        open_dataset(folder_definition(folder))


@pytest.mark.parametrize(
    ("shape", "edges", "unit"),
    [
        ((20, 18, 3), (1.0, 1.0, 1.0), "voxel"),
        ((20, 18, 3), (0.6, 0.6, 4.0), "mm"),
        ((20, 18, 16), (1.0, 1.0, 1.0), "mm"),
    ],
)
def test_distances_are_in_voxels_where_thick_slices_claim_one_millimetre(
    shape: tuple[int, ...], edges: tuple[float, ...], unit: str, decathlon: Callable[..., Path]
) -> None:
    folder = decathlon(cases=2, shape=shape, affine=np.diag([*edges, 1.0]))
    assert open_dataset(folder_definition(folder)).unit == unit


def write_pictures(folder: Path, pixels: list[np.ndarray], labels: list[np.ndarray], **palette: list[int]) -> Path:
    """Write a folder of nnU-Net's layout with pictures of one channel, whose palette may be inverted."""
    for part, arrays, ending in (("imagesTr", pixels, "_0000"), ("labelsTr", labels, "")):
        (folder / part).mkdir(parents=True)
        for number, array in enumerate(arrays):
            image = Image.fromarray(array)
            if palette:
                image.putpalette(palette["palette"])
            image.save(folder / part / f"p{number}{ending}.png")
    declared = {"channel_names": {"0": "x"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(declared))
    return folder


def test_palette_images_are_trained_on_their_brightness(tmp_path: Path) -> None:
    """Images with an inverted palette are prepared like the same images in grey; labels keep their indices."""
    rng = np.random.default_rng(0)
    grey = [rng.integers(0, 256, (16, 16), dtype=np.uint8) for _ in range(3)]
    labels = [np.eye(16, dtype=np.uint8)] * 3
    inverted = [value for index in range(256) for value in (255 - index,) * 3]
    plain = open_dataset(folder_definition(write_pictures(tmp_path / "plain", grey, labels)))
    coded = open_dataset(
        folder_definition(write_pictures(tmp_path / "coded", [255 - each for each in grey], labels, palette=inverted))
    )
    for ours, theirs in zip(prepare_all(plain).values(), prepare_all(coded).values(), strict=True):
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
    # Runs that read palettes as brightness have other ids.
    assert coded.reader.recipe == {"palette": "colours"}
    assert plain.reader.recipe == {}


def test_spacing_is_the_median_of_what_networks_see(write_decathlon: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_decathlon(tmp_path, cases=3)
    for number, edge in enumerate((0.6, 0.7, 2.0)):
        for part in ("imagesTr", "labelsTr"):
            path = folder / part / f"case_{number:02d}.nii.gz"
            nib.save(nib.Nifti1Image(np.asarray(nib.load(path).dataobj), np.diag([edge, 0.6, 4.0, 1.0])), path)
    definition = folder_definition(folder)
    assert open_dataset(definition).spacing == pytest.approx((0.7, 0.6, 4.0))
    assert open_dataset(definition.model_copy(update={"spatial_dims": 2})).spacing == pytest.approx((0.7, 0.6))
    resized = definition.model_copy(update={"fit": "resize", "size": (40, 36, 6)})  # from 20 × 18 × 3
    assert open_dataset(resized).spacing == pytest.approx((0.35, 0.3, 2.0))
