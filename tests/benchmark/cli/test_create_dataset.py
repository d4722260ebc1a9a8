"""The command `stampbench datasets create`, and definition files in place of names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stampbench.benchmark.config.dataset_request import DatasetRequest, find_definition
from stampbench.datasets.dataset import Dataset

Command = Callable[..., tuple[int, str, str]]
SHORT = ("--folds", "0", "--set", "f=1", "--set", "depth=1", "--protocol", "quick", "--protocol-set", "folds=2",
         "--protocol-set", "max_epochs=1", "--quiet")  # fmt: skip
BUSI = ("create", "busi", "--images", "data/*/{case}.png", "--labels", "data/*/{case}_mask*.png")


def opened(name: str) -> Dataset:
    return DatasetRequest(name=name).open(None)


def run_ids(out: str) -> set[str]:
    return {line.split()[0] for line in out.splitlines() if ": new, " in line or ": cached" in line}


def test_busi_is_used_where_it_is_and_has_the_same_run_id_elsewhere(
    layouts: dict[str, Callable[[Path], Path]], stampbench: Command, tmp_path: Path
) -> None:
    layouts["busi"](tmp_path).rename("data")
    code, out, err = stampbench("datasets", *BUSI, "--class", "tumour=255")
    assert code == 0, err
    assert out.splitlines()[:3] == [
        "busi.yaml: 12 cases of 12 subjects",
        "channels: image (equal colours are read as one channel)",
        "classes: tumour",
    ]
    dataset = opened("busi.yaml")
    assert dataset.definition.split_version == 2
    assert dataset.unit == "px"
    united = dataset.reader.read(next(case for case in dataset.reader.cases if case.id == "malignant (4)"))
    assert united.image.shape == (1, 40, 48)
    assert united.label.sum() == 144  # both masks
    assert not Path("busi").exists()
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", "busi.yaml", *SHORT)
    assert (code, err) == (0, "")
    code, out, _ = stampbench("run", "--strategy", "standard", "--dataset", "busi.yaml", *SHORT, "--dry-run")
    assert ": cached" in out
    assert stampbench("leaderboard", "--dataset", "busi.yaml")[0] == 0
    assert stampbench("figure", "segmentations", "--dataset", "busi.yaml", "--output", "a.png")[0] == 0
    (run,) = (path.parent.name for path in Path("runs").rglob("run.json"))
    image = next(dataset.folder.rglob("benign (1).png")) if dataset.folder else Path()
    assert stampbench("predict", run, image, "--output", "predicted")[::2] == (0, "")
    # The same files and definition on another machine.
    (record,) = Path("runs").rglob("run.json")
    shutil.copytree("data", "other/images/data")
    content = yaml.safe_load(Path("busi.yaml").read_text())
    Path("other/definitions").mkdir()
    Path("other/definitions/busi.yaml").write_text(yaml.safe_dump(content | {"folder": "../images"}))
    words = ("run", "--strategy", "standard", "--dataset", "other/definitions/busi.yaml", *SHORT, "--dry-run")
    assert run_ids(stampbench(*words)[1]) == {record.parent.name}
    # What the definition says of the data is part of the id.
    Path("other/definitions/busi.yaml").write_text(
        yaml.safe_dump(content | {"folder": "../images", "test_cases": ["benign (1)", "malignant (2)"]})
    )
    assert record.parent.name not in run_ids(stampbench(*words)[1])
    code, out, _ = stampbench("datasets", "show", "busi.yaml")
    assert code == 0
    assert "- data/*/{case}_mask*.png" in out
    command = json.loads(record.read_text())
    assert command["dataset"]["source"] == str(tmp_path / "busi.yaml")


def test_drive_has_its_official_test_set(
    layouts: dict[str, Callable[[Path], Path]], stampbench: Command, tmp_path: Path
) -> None:
    folder = layouts["drive"](tmp_path)
    code, out, err = stampbench(
        "datasets", "create", "drive", "--folder", folder, "--images", "*/images/{case}_*.tif",
        "--labels", "vessels=*/1st_manual/{case}_manual1.gif", "--test", "test/images/{case}_*.tif",
    )  # fmt: skip
    assert code == 0, err
    assert "channels: red, green, blue (colours)" in out
    dataset = opened("drive.yaml")
    assert set(dataset.split(None, 0, 5).test) == {f"{number:02d}" for number in range(7, 13)}
    case = dataset.reader.cases[2]
    assert (case.id, dataset.reader.read(case).label.sum()) == ("03", 144)


def test_jsrt_has_a_file_per_structure_a_palette_and_labels_of_another_size(
    layouts: dict[str, Callable[[Path], Path]], stampbench: Command, tmp_path: Path
) -> None:
    folder = layouts["jsrt"](tmp_path)
    words = [
        "datasets", "create", "jsrt", "--folder", folder, "--images", "images/{case}.png",
        "--labels", "heart=masks/heart/{case}.gif", "--labels", "left lung=masks/left lung/{case}.gif",
    ]  # fmt: skip
    code, _, err = stampbench(*words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "the label map has size 20×24, but the image has size 40×48; see --resize-labels" in err
    code, _, err = stampbench(*words, "--resize-labels")
    assert code == 0, err
    dataset = opened("jsrt.yaml")
    raw = dataset.reader.read(dataset.reader.cases[0])
    assert dataset.classes == ("background", "heart", "left lung")
    assert (raw.label == 1).sum() == 64  # a box at odd places has its size in whole steps of two
    assert raw.image[0][raw.label == 1].mean() > raw.image[0][raw.label == 0].mean() + 50


def overlapping(root: Path) -> None:
    """Write a case with masks of two classes that share 20 pixels."""
    for name in ("i", "a", "b"):
        (root / name).mkdir()
    first, second = np.zeros((2, 20, 30), np.uint8)
    first[2:6, 2:12], second[2:6, 7:17] = 1, 1
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 99, (20, 30), np.uint8)
        Image.fromarray(noise).save(root / f"i/{number}.png")
        Image.fromarray(first).save(root / f"a/{number}.png")
        Image.fromarray(second).save(root / f"b/{number}.png")


def test_overlaps_are_refused_or_ordered(stampbench: Command, tmp_path: Path) -> None:
    overlapping(tmp_path)
    words = ("datasets", "create", "two", "--images", "i/{case}.png", "--labels", "a=a/{case}.png",
             "--labels", "b=b/{case}.png")  # fmt: skip
    code, _, err = stampbench(*words)
    assert (code, "20 voxels belong to both 'a' and 'b'" in err, "see --priority of" in err) == (2, True, True)
    assert not Path("two.yaml").exists()
    assert stampbench(*words, "--priority", "b,a", "--spacing", "0.5x0.25")[0] == 0
    dataset = opened("two.yaml")
    label = dataset.reader.read(dataset.reader.cases[0]).label
    assert ((label == 1).sum(), (label == 2).sum()) == (20, 40)
    assert dataset.unit == "mm"
    assert next(iter(dataset.prepare(["0"]).values())).spacing == (0.5, 0.25)
    code, _, err = stampbench(*words, "--priority", "b")
    assert (code, err) == (2, "error: two.yaml exists; see --force\n")


def break_nothing(root: Path) -> None: ...


def two_images(root: Path) -> None:
    shutil.copy(root / "data/benign/benign (1).png", root / "data/malignant/benign (1).png")


def no_mask(root: Path) -> None:
    (root / "data/benign/benign (1)_mask.png").unlink()


def no_image(root: Path) -> None:
    (root / "data/benign/benign (1).png").unlink()


def other_value(root: Path) -> None:
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(root / "data/benign/benign (1)_mask.png")


def other_case(root: Path) -> None:
    for ending in ("", "_mask"):
        shutil.copy(root / f"data/benign/benign (1){ending}.png", root / f"data/benign/Benign (1){ending}.png")


@pytest.mark.parametrize(
    ("fault", "words", "message"),
    [
        (break_nothing, [], "label maps have the values 0, 255, which no class names; see --class"),
        (break_nothing, ["--class", "tumour"], "--class takes NAME=VALUE"),
        (break_nothing, ["--class", "tumour=1"], "label value 255 is not declared; declared are 0, 1; see --class"),
        (break_nothing, ["--labels", "masks/{case}.png"], "'masks/{case}.png' matches none of 27 files; files are"),
        (break_nothing, ["--images", "data/*/x.png"], "pattern 'data/*/x.png' has no {case}"),
        (break_nothing, ["--images", "data/{kind}/{case}.png"], "'{kind}' is unknown; known: {case}, {subject}"),
        (break_nothing, ["--images", "../data/*/{case}.png"], "patterns are relative to the folder"),
        (break_nothing, ["--class", "tumour=255", "--test", "ids.txt"], "test case 'nobody' is no case of the dataset"),
        (break_nothing, ["--class", "tumour=255", "--test", "none.txt"], "--test none.txt: lists no case"),
        (break_nothing, ["--class", "a=255", "--class", "a=7"], "--class 'a=7': 'a' is named twice"),
        (break_nothing, ["--class", "background=255"], "--class 'background=255': 'background' is value 0"),
        (break_nothing, ["--class", "a=255", "--output", "x.txt"], "a definition file ends in .yaml or .yml"),
        (break_nothing, ["--class", "a=255", "--priority", "b"], "priority names 'b', which is none of the classes a"),
        (break_nothing, ["--folder", "nowhere"], "folder 'nowhere' does not exist"),
        (two_images, [], "case 'benign (1)' has two images, data/benign/benign (1).png and"),
        (no_mask, [], "1 of 12 cases have no label map (benign (1)); ignore their images; see --ignore"),
        (no_image, [], "1 label maps belong to no image (data/benign/benign (1)_mask.png)"),
        (other_value, ["--class", "tumour=255"], "label value 7 is not declared; declared are 0, 255"),
        (other_case, [], "cases 'Benign (1)' and 'benign (1)' differ in upper and lower case only"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    fault: Callable[[Path], None],
    words: list[str],
    message: str,
    layouts: dict[str, Callable[[Path], Path]],
    stampbench: Command,
    tmp_path: Path,
) -> None:
    layouts["busi"](tmp_path).rename("data")
    Path("ids.txt").write_text("nobody\n")
    Path("none.txt").write_text("\n \n")
    Path("data/loop").symlink_to(tmp_path / "data")
    fault(tmp_path)
    given = [*BUSI]
    if words and words[0] in given:
        given[given.index(words[0]) + 1] = words[1]
        words = words[2:]
    code, out, err = stampbench("datasets", *given, *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert message in err
    assert not Path("busi.yaml").exists()


def test_names_with_accents_spaces_and_brackets_are_matched(stampbench: Command, tmp_path: Path) -> None:
    """Some file systems store é as e and an accent."""
    for folder, name in (("i", "cafe\u0301 [1] a+b"), ("m", "caf\u00e9 [1] a+b"), ("i", "two"), ("m", "two")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / folder / f"{name}.png")
    code, _, err = stampbench(
        "datasets", "create", "x", "--images", "i/{case}.png", "--labels", "line=m/{case}.png"
    )  # fmt: skip
    assert code == 0, err
    assert [case.id for case in opened("x.yaml").reader.cases] == ["caf\u00e9 [1] a+b", "two"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "bad.yaml:1: not valid YAML"),
        ("a: " + "[" * 9999, "nested too deeply"),
        ("a: &a [*a]", "an alias contains itself"),
        ("name: ../../escaped", "name='../../escaped': not a name"),
        ("background: [99999999999]", "background.0=99999999999"),
        ("clip_range: [-.inf, .inf]", "clip_range.0=-inf: input should be a finite number"),
        ("archive: {url: 'file:///etc/passwd', md5: null, folder: x}", "archive.url='file:///etc/passwd'"),
        ("archive: {url: 'http://a/b.tar', md5: null, folder: ../x}", "archive.folder='../x': string should match"),
        ('folder: "\\0"', "folder: contains a null byte"),
        ("- a", "is not a mapping of keys"),
        ("paterns: {}", "unknown key of definition file bad.yaml 'paterns'; did you mean 'patterns'?"),
        ("patterns: {images: ['{case}.png']}", "neither labels nor masks are given"),
        ("patterns: {images: ['{case}.png'], labels: ['{case}_m.png']}", "label maps require 'classes'"),
    ],
)
def test_invalid_definition_files_are_refused_in_one_line(text: str, message: str, stampbench: Command) -> None:
    Path("bad.yaml").write_text(text)
    code, _, err = stampbench("datasets", "check", "bad.yaml")
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err


def test_a_definition_file_may_describe_a_folder_with_dataset_json(
    decathlon: Callable[..., Path], stampbench: Command
) -> None:
    folder = decathlon()
    Path("slices.yaml").write_text(f"folder: {folder.name}\nspatial_dims: 2\nsize: [32, 32]\nfit: resize\n")
    assert stampbench("datasets", "check", "slices.yaml")[0] == 0
    definition = find_definition("slices.yaml")
    assert (definition.name, definition.fit, definition.size) == ("slices", "resize", (32, 32))
