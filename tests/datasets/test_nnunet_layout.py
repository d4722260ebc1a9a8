"""Datasets written in the layout of nnU-Net v2, and read again as such folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.definition import Definition, folder_definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.matching.patterns import Patterns
from stampbench.datasets.nnunet_layout import folder_name, write_nnunet


def test_volumes_keep_values_classes_and_geometry(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    original = open_dataset(folder_definition(decathlon(cases=12)))
    folder = tmp_path / folder_name(7, "Pro state (2)")
    assert folder.name == "Dataset007_Prostate2"
    assert write_nnunet(original, folder) == (9, 3)
    test = original.split(None, 0, 3).test
    assert sorted(path.name for path in (folder / "labelsTs").iterdir()) == sorted(f"{case}.nii.gz" for case in test)
    assert len(list((folder / "imagesTr").iterdir())) == 18
    again = open_dataset(folder_definition(folder))
    assert (again.channels, again.classes) == (original.channels, original.classes)
    assert not {case.id for case in again.reader.cases} & set(test)
    sources = {case.id: case for case in original.reader.cases}
    for case in again.reader.cases:
        ours, theirs = again.reader.read(case), original.reader.read(sources[case.id])
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(ours.label, theirs.label)
        np.testing.assert_allclose(ours.affine, theirs.affine)
    with pytest.raises(DatasetError, match="exists"):
        write_nnunet(original, folder)


def pictures(root: Path, top: float) -> Dataset:
    """Return a dataset of pictures with a class of the value 255."""
    for number in range(6):
        label = np.zeros((16, 18), np.uint8)
        label[2:9, 3:8] = 255
        pixels = np.random.default_rng(number).integers(0, 200, label.shape) * top
        (root / "data").mkdir(exist_ok=True)
        np.save(root / "data" / f"{number}.npy", pixels)
        Image.fromarray(label).save(root / "data" / f"{number}_m.png")
    patterns = Patterns(images=("{case}.npy",), labels=("{case}_m.png",))
    return open_dataset(
        Definition(name="p", summary="", folder=str(root / "data"), patterns=patterns, classes={"a": (255,)})
    )


@pytest.mark.parametrize(("top", "ending"), [(1, ".png"), (300, ".png"), (0.5, ".tif")])
def test_pictures_are_png_files_if_their_values_allow_it(tmp_path: Path, top: float, ending: str) -> None:
    original, folder = pictures(tmp_path, top), tmp_path / "Dataset001_p"
    write_nnunet(original, folder)
    described = json.loads((folder / "dataset.json").read_text())
    assert (described["file_ending"], described["labels"]) == (ending, {"background": 0, "a": 1})
    again = open_dataset(folder_definition(folder))
    sources = {case.id: case for case in original.reader.cases}
    for case in again.reader.cases:
        ours, theirs = again.reader.read(case), original.reader.read(sources[case.id])
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(ours.label, theirs.label)


def test_nothing_is_left_if_a_case_cannot_be_read(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    source = decathlon(cases=6)
    dataset = open_dataset(folder_definition(source))
    (source / "labelsTr" / "case_04.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="case_04"):
        write_nnunet(dataset, tmp_path / "out" / "Dataset001_x")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_says_what_it_wrote(stampbench: Callable[..., tuple[int, str, str]]) -> None:
    words = ("datasets", "export", "phantom2d:size=16,cases=8", "--layout", "nnunet")
    code, out, _ = stampbench(*words)
    assert code == 0
    assert out.startswith("Dataset501_phantom2d: 6 training cases, and 2 test cases in imagesTs and labelsTs\n")
    code, _, err = stampbench(*words)
    assert (code, err) == (2, "error: Dataset501_phantom2d exists; see --output\n")
