"""The datasets of the catalogue, from miniatures in their real file layout to a run record."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from monai.apps import DecathlonDataset

from stampbench.datasets import catalogue
from stampbench.datasets.catalogue import CATALOGUE, discover
from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.definition import Definition, Phantom
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.preprocessing import restore

# Options of the run, and the channels, classes and test subjects that its record must contain, per dataset.
RUNS: dict[str, tuple[list[str], int, list[str], int]] = {
    "hippocampus": ([], 1, ["background", "Anterior", "Posterior"], 2),
    "prostate": (["--image-size", "32x32"], 2, ["background", "PZ", "TZ"], 10),
    "cardiac": (["--image-size", "32x32"], 1, ["background", "left atrium"], 5),
    "spleen": (["--image-size", "32x32"], 1, ["background", "spleen"], 10),
    "liver": (["--image-size", "32x32", "--protocol-set", "augmentation=flip"], 1, ["background", "liver"], 2),
    "nfbs": (["--patch-size", "16x16x8"], 1, ["background", "brain"], 2),
    "harp": ([], 1, ["background", "hippocampus"], 35),
    "ixi_hh": (["--image-size", "16x16x16"], 1, ["background", "brain"], 19),
    "ixi_guys": (["--image-size", "16x16x16"], 1, ["background", "caudate", "putamen", "thalamus"], 65),
    "intergrowth": (["--image-size", "32x32x32"], 1, ["background", "brain"], 2),
    "acdc": (["--image-size", "32x32"], 1, ["background", "RV", "MYO", "LV"], 2),
    "dsb2018": (["--image-size", "16x16"], 1, ["background", "nucleus"], 2),
}


Miniatures = dict[str, Callable[[Path], None]]


@pytest.fixture
def opened(miniatures: Miniatures, tmp_path: Path) -> Callable[..., Dataset]:
    """Return a function that writes the miniature of a dataset and opens it with changes to its definition."""

    def write_and_open(name: str, **changes: Any) -> Dataset:
        miniatures[name](tmp_path)
        return open_dataset(CATALOGUE[name].model_copy(update=changes), tmp_path)

    return write_and_open


def test_every_dataset_made_of_files_has_a_miniature(miniatures: Miniatures) -> None:
    assert set(miniatures) == set(RUNS) == {name for name, each in CATALOGUE.items() if each.phantom is None}


def test_addresses_and_checksums_of_the_decathlon_equal_monais() -> None:
    for definition in CATALOGUE.values():
        if definition.archive is not None and definition.archive.folder in DecathlonDataset.resource:
            assert definition.archive.url == DecathlonDataset.resource[definition.archive.folder]
            assert definition.archive.md5 == DecathlonDataset.md5[definition.archive.folder]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_every_dataset_writes_a_record_with_its_classes_and_subjects(
    name: str, miniatures: Miniatures, tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    options, channels, classes, test_subjects = RUNS[name]
    miniatures[name](tmp_path / "data")
    code, out, err = stampbench(
        "run", "--strategy", "standard", "--dataset", name, "--data-root", tmp_path / "data", "--folds", "0",
        "--protocol", "quick", "--protocol-set", "folds=2", "--protocol-set", "max_epochs=1", "--set", "f=1",
        "--set", "depth=1", *options,
    )  # fmt: skip
    assert code == 0, out + err
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
    record = json.loads((folder / "run.json").read_text())
    assert record["dataset"]["classes"] == classes
    assert len(record["dataset"]["channels"]) == channels
    cases = pd.read_csv(folder / "cases.csv")
    assert cases["subject"].nunique() == test_subjects
    assert set(cases["class"]) == set(classes[1:])
    assert cases["reference_voxels"].gt(0).all()


def test_liver_is_halved_then_clipped_and_includes_tumours(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened("liver", size=(32, 32))
    case = dataset.prepare(["liver_000"])["liver_000"]
    raw = nib.load(tmp_path / "Task03_Liver" / "imagesTr" / "liver_000.nii.gz").get_fdata()[::-1]  # from L to R
    label = np.asarray(nib.load(tmp_path / "Task03_Liver" / "labelsTr" / "liver_000.nii.gz").dataobj)[::-1]
    halved = raw.reshape(32, 2, 32, 2, 4).mean((1, 3)).clip(-100, 200)
    expected = (halved - halved.mean()) / halved.std()
    np.testing.assert_allclose(case.images[:, 0], expected.transpose(2, 0, 1), atol=1e-4)
    assert np.array_equal(case.reference, label > 0)
    assert set(np.unique(label)) == {0, 1, 2}
    assert case.spacing == (0.7, 0.7, 3.0)  # the grid of the file, not the halved one
    restored = restore(np.asarray(case.labels), case)
    assert restored.shape == (64, 64, 4)
    assert (restored == case.reference).mean() > 0.98


def test_a_harp_case_is_a_box_around_one_hippocampus(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened("harp", crop=(16, 20, 24), size=(16, 20, 24))
    assert len(dataset.reader.cases) == 78
    assert {case.subject for case in dataset.reader.cases} == {f"002_S_{number:04d}" for number in range(39)}
    for case in dataset.reader.cases[:2]:
        mask = nib.as_closest_canonical(nib.load(case.label))
        full = np.asarray(mask.dataobj)
        inside = np.argwhere(full)
        start = [
            int(np.clip((low + high + 1) // 2 - edge // 2, 0, length - edge))
            for low, high, edge, length in zip(inside.min(0), inside.max(0), (16, 20, 24), full.shape, strict=True)
        ]
        box = tuple(slice(at, at + edge) for at, edge in zip(start, (16, 20, 24), strict=True))
        prepared = dataset.prepare([case.id])[case.id]
        assert np.array_equal(prepared.reference, full[box])
        # The affine of the box is right if it maps the box's first voxel to its corner in the file.
        raw, file = dataset.reader.read(case), nib.load(case.label)
        corner = np.linalg.solve(file.affine, [*raw.affine[:3, 3], 1])[:3].round().astype(int)
        file_box = tuple(slice(at, at + edge) for at, edge in zip(corner, raw.label.shape, strict=True))
        assert np.array_equal(raw.label, np.asarray(file.dataobj)[file_box])
        assert prepared.reference.sum() == full.sum() > 0
        image = np.asarray(nib.as_closest_canonical(nib.load(case.images[0])).dataobj)[box]
        np.testing.assert_allclose(prepared.images[0, 0], (image - image.mean()) / image.std(), atol=1e-4)
        assert prepared.spacing == (1.2, 0.9, 0.9)


def test_left_and_right_hippocampus_of_a_subject_stay_together(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    from stampbench.datasets.split import split

    dataset = opened("harp")
    result = split(dataset.definition, dataset.images, None, 0, 2)
    sides = [
        {case.rsplit("_", 1)[0] for case in result.test},
        {image.subject for image in result.training},
        {image.subject for image in result.validation},
    ]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert len(result.test) == 70


def test_label_values_are_merged_into_classes_and_background(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened("ixi_guys", size=(16, 16, 16))
    case = dataset.reader.cases[0]
    raw = np.asarray(nib.as_closest_canonical(nib.load(case.label)).dataobj)
    assert set(np.unique(raw)) == {0, 10, 12, 17, 50}
    reference = dataset.prepare([case.id])[case.id].reference
    for value, index in ((50, 1), (12, 2), (10, 3), (17, 0)):
        assert set(np.unique(reference[raw == value])) == {index}
    mask = nib.load(case.label)
    nib.save(nib.Nifti1Image(np.full(mask.shape, 99, np.uint8), mask.affine), case.label)
    with pytest.raises(DatasetError, match=r"label value 99 is not declared; declared are 0, 10, 11, 12, 13, 16"):
        dataset.reader.read(case)


def test_a_resized_volume_is_scored_in_its_original_grid(opened: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset = opened("ixi_hh", size=(16, 16, 16))
    (case,) = dataset.prepare([dataset.reader.cases[0].id]).values()
    assert case.images.shape == (1, 1, 16, 16, 16)
    assert case.reference.shape == (18, 24, 20)  # the file's axes are P, I, R
    assert restore(np.asarray(case.labels), case).shape == (18, 24, 20)
    assert abs(float(case.images.mean())) < 1e-5


def test_patches_of_five_slices_work_with_pocketnets_networks_only(
    miniatures: Miniatures, tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    """PocketNet's networks do not pool the third axis; the U-Net does and needs an even number of slices."""
    miniatures["nfbs"](tmp_path / "data")
    run = (
        "run", "--dataset", "nfbs", "--data-root", tmp_path / "data", "--folds", "0", "--protocol-set", "folds=2",
        "--protocol-set", "max_epochs=1", "--patch-size", "256x256x5", "--protocol", "pocketnet", "--strategy",
    )  # fmt: skip
    code, out, err = stampbench(*run, "pocket_unet", "--set", "f=2")
    assert code == 0, out + err
    (path,) = (tmp_path / "runs").rglob("run.json")
    assert json.loads(path.read_text())["spec"]["dataset"]["patch"] == [32, 32, 5]  # at most its size
    assert "multiples of 2, but nfbs has 5" in stampbench(*run, "standard", "--set", "depth=1")[2]


def test_links_to_folders_are_followed_and_hidden_files_are_ignored(miniatures: Miniatures, tmp_path: Path) -> None:
    miniatures["intergrowth"](tmp_path)
    labels = tmp_path / "INTERGROWTH21" / "labels"
    labels.rename(tmp_path / "elsewhere")
    labels.symlink_to(tmp_path / "elsewhere")
    (labels / "._s0.nii").touch()
    assert [case.id for case in open_dataset(CATALOGUE["intergrowth"], tmp_path).reader.cases] == [
        f"s{number}" for number in range(6)
    ]


def test_patch_fit_clip_range_and_crop_are_part_of_the_identity_of_a_dataset() -> None:
    from stampbench.benchmark.config.spec import DatasetIdentity

    one = DatasetIdentity(name="a", version="1", checksum="c" * 64, spatial_dims=3, size=(16, 16, 16))
    others = [one.model_copy(update=change) for change in (
        {"patch": (8, 8, 8)}, {"fit": "resize"}, {"clip_range": (0.0, 1.0)}, {"crop": (4, 4, 4)}
    )]  # fmt: skip
    assert len({identity.model_dump_json() for identity in (one, *others)}) == 5


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("harp", "HarP/images/002_S_0000.nii.gz", "no such file"),
        ("nfbs", "NFBS_Dataset/A00028185/sub-A00028185_ses-NFB3_T1w.nii.gz", "no such file"),
        ("intergrowth", "INTERGROWTH21", "run 'stampbench datasets show intergrowth' to see how to get it"),
    ],
)
def test_a_missing_file_or_folder_is_named_in_one_line(
    name: str,
    missing: str,
    message: str,
    miniatures: Miniatures,
    tmp_path: Path,
    stampbench: Callable[..., tuple[int, str, str]],
) -> None:
    miniatures[name](tmp_path / "data")
    removed = tmp_path / "data" / missing
    removed.rename(tmp_path / "elsewhere")
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", name, "--data-root", tmp_path / "data")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert str(removed) in err


def test_missing_label_maps_are_reported_with_their_paths_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "IXI" / "IXI-T1").mkdir(parents=True)
    message = r"contains no label maps; .*T1_subcort_seg.*'stampbench datasets show ixi_guys'"
    with pytest.raises(DatasetError, match=message):
        open_dataset(CATALOGUE["ixi_guys"], tmp_path)


class Point:
    """Stand-in for the entry point of an installed package."""

    dist = None

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self._found = name, f"lungs:{name}", found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_datasets_of_other_packages_are_added_or_reported_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", dict(CATALOGUE))
    good = Definition(name="lungs", summary="lungs", phantom=Phantom(cases=4, size=16), spatial_dims=2)
    points = [
        Point("lungs", good),
        Point("lungs", good),  # the same definition twice is no conflict
        Point("hippocampus", good.model_copy(update={"name": "hippocampus"})),
        Point("renamed", good),
        Point("number", 7),
        Point("nowhere", Definition(name="nowhere", summary="")),
        Point("broken", ImportError("no module\nnamed x")),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    assert list(discover()) == [
        "dataset 'hippocampus' of an unknown package (lungs:hippocampus) is not added: the name is taken",
        "dataset 'renamed' of an unknown package (lungs:renamed) is not added: its definition has the name 'lungs'",
        "dataset 'number' of an unknown package (lungs:number) is not added: it is not a Definition but int",
        "dataset 'nowhere' of an unknown package (lungs:nowhere) is not added: "
        "its definition has neither folder nor phantom",
        "dataset 'broken' of an unknown package: lungs:broken cannot be imported (ImportError: no module named x)",
    ]
    assert catalogue.CATALOGUE["lungs"] == good
