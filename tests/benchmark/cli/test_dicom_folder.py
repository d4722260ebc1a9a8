"""Folders of DICOM series with DICOM-SEG or RTSTRUCT files: from inspect to a leaderboard and a prediction."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

Command = Callable[..., tuple[int, str, str]]
SHORT = ("--folds", "0", "--set", "f=1", "--set", "depth=1", "--protocol", "quick", "--protocol-set", "folds=2",
         "--protocol-set", "max_epochs=1", "--quiet", "--spatial-dims", "2")  # fmt: skip
SHAPE = (20, 16, 4)


def patients(dicom: ModuleType, root: Path, *, ct: str, labels: str, structures: str) -> dict[str, np.ndarray]:
    """Write patients with a liver, and a lesion in it; return the masks of the liver."""
    masks = {}
    for number in range(6):
        name, rng = f"PAT-{number:02d}", np.random.default_rng(number)
        liver, lesion = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        liver[number + 1 : number + 9, 3:13, 1:4] = True
        lesion[number + 3 : number + 5, 5:8, 2] = True
        sources = dicom.series(root / name / ct.format(number), (rng.normal(100 * liver, 5)).astype(np.int16))
        path = root / name / labels.format(number)
        if structures == "seg":
            dicom.segmentation(path, sources, {"Liver": liver, "Lesion/1": lesion})
        else:
            box = {"Liver": liver, "Lesion/1": lesion}
            dicom.contours(path, sources, {key: polygons(mask) for key, mask in box.items()})
        masks[name] = liver
    return masks


def polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Return the corners of a box, slice by slice."""
    found = []
    for z in np.flatnonzero(mask.any((0, 1))):
        (left, top), (right, bottom) = (edge(np.argwhere(mask[..., z]), axis=0) for edge in (np.min, np.max))
        corners = [(left, top), (right + 1, top), (right + 1, bottom + 1), (left, bottom + 1)]
        found.append(np.array([(x - 0.5, y - 0.5, z) for x, y in corners]))
    return found


@pytest.mark.parametrize(
    ("ct", "labels", "structures", "images_pattern", "labels_pattern"),
    [
        ("CT", "RT/rs.dcm", "rt", "{case}/CT/*.dcm", "{case}/RT/rs.dcm"),
        ("1.2.{0}/7.{0}", "1.2.{0}/9.{0}/1-1.dcm", "seg", "{case}/*/*/*.dcm", "{case}/*/*/1-1.dcm"),
        (".", "seg.dcm", "seg", "{case}/*.dcm", "{case}/seg.dcm"),
    ],
)
def test_folders_reach_a_leaderboard_by_the_command_that_inspect_prints(
    ct: str, labels: str, structures: str, images_pattern: str, labels_pattern: str, dicom: ModuleType,
    stampbench: Command, tmp_path: Path,
) -> None:  # fmt: skip
    masks = patients(dicom, tmp_path / "scans", ct=ct, labels=labels, structures=structures)
    code, out, err = stampbench("datasets", "inspect", "scans", "--picture", "look.png")
    assert (code, err) == (0, ""), out
    assert f"{images_pattern}: 6 cases, 20×16×4, 1 channel" in out
    assert f"{labels_pattern}: 6 cases, structures Liver, Lesion/1\n" in out
    assert "sure: label maps" in out
    assert "question: which classes keep the voxels that several claim?" in out
    (proposed,) = [shlex.split(line.removeprefix("next: "))[1:] for line in out.splitlines() if line[:5] == "next:"]
    assert [proposed[at + 1] for at, word in enumerate(proposed) if word == "--labels"] == [
        f"Liver={labels_pattern}", f"Lesion-1={labels_pattern}"
    ]  # fmt: skip
    code, out, err = stampbench(*proposed)
    assert code == 0, err
    assert "6 cases of 6 subjects" in out
    from stampbench.benchmark.api import open_dataset

    dataset = open_dataset("scans.yaml")
    assert dataset.classes == ("background", "Liver", "Lesion-1")
    case = dataset.reader.cases[2]
    assert np.array_equal(dataset.reader.read(case).label > 0, masks[case.id])
    if structures != "rt":
        return
    code, out, _ = stampbench("datasets", "check", "scans.yaml", "--spatial-dims", "2")
    assert code == 0, out
    assert "| 0.8 × 0.5 × 2.5 |" in out
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", "scans.yaml", *SHORT)
    assert (code, err) == (0, "")
    code, out, _ = stampbench("leaderboard", "--dataset", "scans.yaml")
    assert (code, "standard" in out) == (0, True)
    (run,) = {path.parent.name for path in Path("runs").rglob("run.json")}
    folder = tmp_path / "scans" / "PAT-01" / "CT"
    code, out, err = stampbench("predict", run, folder, "--output", "maps")
    assert (code, out.strip()) == (0, "maps/CT.nii.gz"), err
    written, image = nib.load("maps/CT.nii.gz"), dataset.reader.read(dataset.reader.cases[1])
    assert written.shape == SHAPE
    assert written.affine == pytest.approx(image.affine)


def test_patterns_and_names_that_do_not_fit_are_one_line(
    dicom: ModuleType, stampbench: Command, tmp_path: Path
) -> None:
    patients(dicom, tmp_path / "scans", ct="CT", labels="RT/rs.dcm", structures="rt")
    create = ("datasets", "create", "organs", "--folder", "scans")
    images = ("--images", "{case}/CT/*.dcm")
    for words, problem in (
        ((*images, "--labels", "{case}/RT/rs.dcm", "--class", "a=1"), "has structures (Liver, Lesion/1) and no image"),
        ((*images, "--labels", "Heart={case}/RT/rs.dcm"), "has no structure 'Heart'; it has Liver, Lesion/1"),
        (("--images", "*/CT/{case}.dcm", "--labels", "Liver={case}/RT/rs.dcm"), "are images of one series"),
        ((*images, "--labels", "Liver={case}/RT/rs.dcm", "--structure", "Heart=Liver"), "structures of 'Heart'"),
        ((*images, "--labels", "Liver={case}/RT/rs.dcm", "--structure", "Liver"), "--structure takes CLASS=NAME"),
    ):
        code, _, err = stampbench(*create, *words)
        assert (code, problem in err, err.count("\n")) == (2, True, 1), err
        assert not Path("organs.yaml").exists()
    code, _, err = stampbench(*create, *images, "--labels", "organ={case}/RT/rs.dcm", "--structure", "organ=LIVER")
    assert code == 0, err
    before = Path("organs.yaml").read_text()
    assert "structures:\n    organ:\n    - LIVER" in before
