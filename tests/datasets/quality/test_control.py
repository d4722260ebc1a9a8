"""Quality control: every kind of problem is found, and correct data has no findings."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stampbench.datasets.dataset import open_reader
from stampbench.datasets.definition import folder_definition
from stampbench.datasets.quality.control import QualityReport, check_dataset

AFFINE = np.diag([0.6, 0.6, 4.0, 1.0])


def findings(folder: Path, **changes: object) -> list[tuple[str, str]]:
    """Check a folder with changes to its definition, and return level and text of each finding."""
    definition = folder_definition(folder).model_copy(update=changes)
    issues = check_dataset(definition, open_reader(definition)[0]).findings
    assert not any("--" in str(issue) for issue in issues)  # Option syntax belongs to the command line.
    return [(issue.level, str(issue)) for issue in issues]


def check_folder(folder: Path) -> QualityReport:
    """Return the full report of a folder."""
    definition = folder_definition(folder)
    return check_dataset(definition, open_reader(definition)[0])


def save(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(values, affine), path)


def image_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).astype(np.float32)


def test_correct_data_has_no_findings(decathlon: Callable[..., Path]) -> None:
    assert findings(decathlon()) == []


def test_statistics_and_panels_are_oriented_to_ras(decathlon: Callable[..., Path]) -> None:
    affine = np.array([[0, 0, -3.0, 7], [1, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]])
    folder = decathlon(cases=8, shape=(8, 12, 16), affine=affine)
    report = check_folder(folder)
    case = report.cases[0]
    image = image_of(folder / "imagesTr" / "case_00.nii.gz")
    label = np.asarray(nib.load(folder / "labelsTr" / "case_00.nii.gz").dataobj)
    assert (case.shape, case.spacing) == ((16, 8, 12), (3.0, 1.0, 2.0))
    assert (case.lowest, case.highest) == (float(image.min()), float(image.max()))
    assert case.voxels == tuple(int((label == value).sum()) for value in range(3))
    # The third RAS axis is the file's second axis reversed. Anterior, the file's first axis, points up in the panel,
    # which shows the case as networks see it: padded to multiples of 16.
    panel = report.panels[0]
    slice = int(panel.title.rsplit(" ", 1)[1])
    expected = label.transpose(2, 0, 1)[::-1, :, ::-1]
    expected = np.pad(expected, ((0, 0), (4, 4), (2, 2)))
    assert np.array_equal(panel.label, np.rot90(expected[..., slice]))
    assert expected[..., slice].astype(bool).sum() == max((expected > 0).sum((0, 1)))
    assert panel.aspect == pytest.approx(1.0 / 3.0)


def corrupt(folder: Path, fault: str) -> None:
    """Introduce a fault into the first case of a folder."""
    image, label = folder / "imagesTr" / "case_00.nii.gz", folder / "labelsTr" / "case_00.nii.gz"
    other = folder / "imagesTr" / "case_01.nii.gz"
    pixels = image_of(image)
    if fault == "no image":
        image.unlink()
    elif fault == "no label":
        label.unlink()
    elif fault == "truncated":
        image.write_bytes(image.read_bytes()[:500])
    elif fault == "shape":
        save(label, np.zeros((20, 18, 4), np.uint8))
    elif fault == "affine":
        save(label, np.zeros((20, 18, 3), np.uint8), np.diag([-0.6, 0.6, 4.0, 1.0]))
    elif fault == "value":
        save(label, np.full((20, 18, 3), 7, np.uint8))
    elif fault == "nan":
        pixels[3, 4, 1, 0] = np.nan
        save(image, pixels)
    elif fault == "channels":
        save(image, pixels[..., 0])
    elif fault == "constant":
        pixels[..., 1] = 5
        save(image, pixels)
    elif fault == "extreme":
        pixels[0, 0, 0, 1] = 1e12
        save(image, pixels)
    elif fault == "spacing":
        for path in (image, label):
            save(path, np.asarray(nib.load(path).dataobj), np.diag([0.0006, 0.0006, 0.004, 1.0]))
    elif fault == "copy":  # the same pixels in a different file
        save(other, pixels.astype(np.float64))
    elif fault == "class":
        for path in (folder / "labelsTr").iterdir():
            save(path, np.minimum(np.asarray(nib.load(path).dataobj), 1))
    elif fault == "unused file":
        shutil.copy(image, folder / "imagesTr" / "forgotten.nii.gz")


@pytest.mark.parametrize(
    ("fault", "level", "message"),
    [
        ("no image", "error", "case 'case_00': .*imagesTr/case_00.nii.gz: no such file"),
        ("truncated", "error", "case 'case_00': .*imagesTr/case_00.nii.gz: cannot be read"),
        ("no label", "error", "case 'case_00': .*labelsTr/case_00.nii.gz: no such file"),
        ("shape", "error", "case 'case_00': .*the label map has size 20×18×4, but the image has size 20×18×3"),
        ("affine", "error", "case 'case_00': .*the affine .* differs from that of its image"),
        ("value", "error", "case 'case_00': .*label value 7 is not declared; declared are 0, 1, 2"),
        ("nan", "error", "case 'case_00': .*contains NaN"),
        ("channels", "error", r"case 'case_00': .*has 1 channels, but 2 are declared \(T2, ADC\)"),
        ("extreme", "warning", "case 'case_00': channel 'ADC' has a few extreme values, .* no contrast to the others"),
        ("constant", "warning", "case 'case_00': channel 'ADC' has the same value everywhere"),
        ("spacing", "warning", "case 'case_00': implausible voxel size of 0.0006 × 0.0006 × 0.004 mm"),
        ("copy", "error", "cases 'case_00', 'case_01' have the same image but different subjects"),
        ("class", "warning", "class 'TZ' does not occur in any case"),
        ("unused file", "warning", "1 files belong to no case because .*: imagesTr/forgotten.nii.gz"),
    ],
)
def test_a_fault_is_found_and_described(fault: str, level: str, message: str, decathlon: Callable[..., Path]) -> None:
    folder = decathlon()
    corrupt(folder, fault)
    ((found, text),) = findings(folder)
    assert found == level
    assert re.search(message, text), text


def test_the_check_continues_after_unusable_cases(
    decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    folder = decathlon()
    corrupt(folder, "truncated")
    (folder / "imagesTr" / "case_05.nii.gz").unlink()
    (folder / "labelsTr" / "case_07.nii.gz").unlink()
    code, out, err = stampbench("datasets", "check", folder)
    assert (code, err) == (1, "")
    assert "16 cases of 16 subjects, 13 of them readable" in out
    for case in ("case_00", "case_05", "case_07"):
        assert f"error: case '{case}': " in out
    assert out.splitlines()[-1] == "Task05_Prostate: 3 errors, 0 warnings"


def test_the_same_image_twice_in_one_subject_is_a_warning(decathlon: Callable[..., Path]) -> None:
    folder = decathlon()
    corrupt(folder, "copy")
    found = findings(folder, subject_pattern=r"case_(\d)")
    assert [level for level, text in found if "same image" in text] == ["warning"]


def test_case_ids_that_look_like_several_images_of_a_subject_are_reported(
    decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    folder = decathlon()
    declared = json.loads((folder / "dataset.json").read_text())
    for number, entry in enumerate(declared["training"]):
        name = f"patient{number // 2:03d}_frame{number % 2:02d}.nii.gz"
        for part in ("image", "label"):
            path = folder / entry[part]
            path.rename(path.with_name(name))
            entry[part] = f"{Path(entry[part]).parent}/{name}"
    (folder / "dataset.json").write_text(json.dumps(declared))
    ((level, text),) = findings(folder)
    assert level == "warning"
    assert "'patient000_frame00' look like several images of a subject" in text
    assert [issue.setting for issue in check_folder(folder).findings] == ["subject_pattern"]
    pattern = text.split("'")[3]
    assert findings(folder, subject_pattern=pattern) == []
    assert findings(folder, subject_pattern=r"(patient\d+)") == []
    run = ("run", "--strategy", "standard", "--dataset", folder, "--dry-run", "--folds", "0", "--n-train", "8")
    assert "warning: Task05_Prostate: ids such as 'patient000_frame00'" in stampbench(*run)[2]
    assert stampbench(*run, "--subject-pattern", pattern)[2] == ""


def test_lost_spacing_is_reported(decathlon: Callable[..., Path]) -> None:
    ((level, text),) = findings(decathlon(affine=np.eye(4)))
    assert level == "warning"
    assert "voxels of 1 mm, but sizes such as 20×18×3 suggest thick slices" in text


def test_too_few_subjects_for_the_folds_are_reported(decathlon: Callable[..., Path]) -> None:
    issues = check_folder(decathlon(cases=4)).findings
    assert [(str(issue), issue.setting) for issue in issues] == [
        ("3 training subjects besides 1 test subjects are too few for 5 folds; use 3 folds", "folds")
    ]
    assert [level for level, _ in findings(decathlon(name="one", cases=1))] == ["error"]


def test_a_subject_with_fewer_cases_than_most_is_reported(
    tmp_path: Path, miniatures: dict[str, Callable[[Path], None]]
) -> None:
    from stampbench.datasets.catalogue import CATALOGUE

    miniatures["harp"](tmp_path)
    harp = CATALOGUE["harp"]
    (tmp_path / "HarP" / "labels" / "002_S_0003_R.nii.gz").unlink()
    (tmp_path / "HarP" / "labels" / "002_S_0005_R.nii.gz").unlink()
    (tmp_path / "HarP" / "labels" / "002_S_0005_L.nii.gz").unlink()
    texts = [issue.text for issue in check_dataset(harp, open_reader(harp, tmp_path)[0]).findings]
    assert "most subjects have 2 cases, but not 002_S_0003" in texts
    assert any("1 files belong to no case" in text and "images/002_S_0005.nii.gz" in text for text in texts)


def test_the_command_prints_tables_writes_an_overview_and_ends_with_the_counts(
    decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = decathlon()
    code, out, _ = stampbench("datasets", "check", folder, "--overview", "look.png", "--table", "cases.csv")
    assert code == 0
    assert "16 cases of 16 subjects, 16 of them readable" in out
    assert "| voxel in mm         | 0.6 × 0.6 × 4 | 0.6 × 0.6 × 4 | 0.6 × 0.6 × 4 |" in out
    assert out.splitlines()[-1] == "Task05_Prostate: 0 errors, 0 warnings"
    assert len((tmp_path / "cases.csv").read_text().splitlines()) == 17
    pixels = np.asarray(Image.open(tmp_path / "look.png").convert("RGB")).reshape(-1, 3)
    orange, blue = (np.abs(pixels.astype(int) - colour).sum(1) < 30 for colour in ((230, 159, 0), (86, 180, 233)))
    assert min(orange.sum(), blue.sum()) > 200  # outlines of both classes
    corrupt(folder, "value")
    code, out, _ = stampbench("datasets", "check", folder)
    assert code == 1
    assert out.splitlines()[-1] == "Task05_Prostate: 1 errors, 0 warnings"


def test_png_images_are_checked_too(tmp_path: Path) -> None:
    folder = tmp_path / "dots"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        label = np.zeros((20, 30), np.uint8)
        label[2:8, 3:20] = 1
        Image.fromarray(label).save(folder / "labelsTr" / f"dot_{number}.png")
        pixels = (label * 99 + rng.integers(0, 99, label.shape)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "imagesTr" / f"dot_{number}_0000.png")
    declared = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "dot": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(declared))
    report = check_folder(folder)
    assert report.findings == []
    # Padded to multiples of 16, and not rotated, unlike slices of volumes.
    assert report.panels[0].label.shape == (32, 32)
    assert report.panels[0].label[8:14, 4:21].all()


def test_foreground_outside_the_image_size_is_reported_and_resizing_keeps_it(
    tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    """A frame around the border: cropping to the centre loses all of it but a known part."""
    folder = tmp_path / "frames"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(8):
        label = np.zeros((40, 48), np.uint8)
        label[:, :10] = 1  # 400 pixels, of which columns 8 and 9 of the rows 4 to 36 are inside 32×32: 64
        Image.fromarray(label).save(folder / "labelsTr" / f"f{number}.png")
        Image.fromarray(rng.integers(0, 99, label.shape, np.uint8)).save(folder / "imagesTr" / f"f{number}_0000.png")
    declared = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "frame": 1}, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(declared))
    ((level, text),) = findings(folder, size=(32, 32))
    assert level == "warning"
    assert text.startswith("84.0% of the foreground lies outside the 32×32 around the centre")
    assert findings(folder, size=(32, 32), fit="resize") == []
    assert findings(folder) == []
    code, out, _ = stampbench("datasets", "check", folder, "--image-size", "32x32", "--overview", "look.png")
    assert code == 0
    assert "the fit 'resize' keeps images whole; see --fit" in out
    run = ("run", "--strategy", "standard", "--dataset", folder, "--image-size", "32x32", "--folds", "0", "--dry-run")
    warning = stampbench(*run)[2]
    assert "warning: frames: images of up to 40×48 are cropped to 32×32 around their centre" in warning
    resized = stampbench(*run, "--fit", "resize")
    assert resized[2] == ""
    assert stampbench(*run)[1].splitlines()[1] != resized[1].splitlines()[1]  # another id


def test_equal_findings_are_listed_once_with_their_cases_and_the_remedy(
    decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    folder = decathlon()
    for path in sorted((folder / "imagesTr").iterdir())[:7]:
        save(path, image_of(path)[..., 0])
    assert findings(folder) == [
        ("error", "7 cases: image: has 1 channels, but 2 are declared (T2, ADC) "
         "(case_00, case_01, case_02, case_03, case_04, …)")
    ]  # fmt: skip
    out = stampbench("datasets", "check", folder)[1]
    assert "case_04, …); see --channels of 'stampbench datasets create'" in out
    assert out.splitlines()[-1] == "Task05_Prostate: 7 errors, 0 warnings"
