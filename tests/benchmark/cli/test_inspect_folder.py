"""The command `stampbench datasets inspect`: from an unknown folder to a leaderboard by the commands it prints."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

Command = Callable[..., tuple[int, str, str]]
SHORT = ("--folds", "0", "--set", "f=1", "--set", "depth=1", "--protocol", "quick", "--protocol-set", "folds=2",
         "--protocol-set", "max_epochs=1", "--quiet")  # fmt: skip


def commands(out: str) -> list[list[str]]:
    """Return the words of the commands that an output proposes."""
    return [shlex.split(line.removeprefix("next: "))[1:] for line in out.splitlines() if line.startswith("next: ")]


@pytest.mark.parametrize("name", ["busi", "drive", "jsrt"])
def test_folders_as_downloaded_reach_a_leaderboard(
    name: str, layouts: dict[str, Callable[[Path], Path]], stampbench: Command, tmp_path: Path
) -> None:
    folder = layouts[name](tmp_path)
    code, out, err = stampbench("datasets", "inspect", folder.name, "--picture", "look.png")
    assert (code, err) == (0, "")
    assert Image.open("look.png").size[0] > 500
    proposed = commands(out)
    assert ("question: which of 2 groups" in out) is (name == "drive")
    assert len(proposed) == (2 if name == "drive" else 1)
    code, out, err = stampbench(*proposed[0])
    assert code == 0, err
    definition = out.split(":")[0]
    assert stampbench("datasets", "check", definition)[0] == 0
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", definition, *SHORT)
    assert (code, err) == (0, "")
    code, out, _ = stampbench("leaderboard", "--dataset", definition)
    assert (code, "standard" in out) == (0, True)


def pair(root: Path, image: str, label: str, number: int) -> None:
    mask = np.zeros((20, 24), np.uint8)
    mask[number % 8 : number % 8 + 6, 4:12] = 1
    noise = np.random.default_rng(number).integers(0, 99, mask.shape, np.uint8)
    for path, pixels in ((image, noise), (label, mask)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path)


@pytest.mark.parametrize(
    ("image", "label", "images", "labels"),
    [
        ("p{}/image.png", "p{}/seg.png", "{case}/image.png", "{case}/seg.png"),
        ("p{0}/p{0}_t1.png", "p{0}/p{0}_seg.png", "{case}/{case}_t1.png", "{case}/{case}_seg.png"),
        ("all/c{}_img.png", "all/c{}_label.png", "all/{case}_img.png", "all/{case}_label.png"),
        ("x/c{}.jpg", "x/c{}_segmentation.png", "x/{case}.jpg", "x/{case}_segmentation.png"),
        ("i/img_{}.png", "m/mask_{}.png", "i/img_{case}.png", "m/mask_{case}.png"),
    ],
)
def test_usual_layouts_are_recognised(
    image: str, label: str, images: str, labels: str, stampbench: Command, tmp_path: Path
) -> None:
    for number in range(12):
        pair(tmp_path / "data", image.format(number), label.format(number), number)
    code, out, err = stampbench("datasets", "inspect", "data")
    assert (code, err) == (0, ""), out
    (words,) = commands(out)
    assert words[words.index("--images") + 1] == images
    assert words[words.index("--labels") + 1] == labels
    assert "--ignore" not in words
    assert stampbench(*words)[0] == 0


@pytest.mark.parametrize("ending", ["nrrd", "mhd", "tif", "npy"])
def test_volumes_of_other_formats_reach_a_leaderboard(ending: str, stampbench: Command, tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    for number in range(8):
        mask = np.zeros((6, 20, 24), np.uint8)
        mask[1:5, number : number + 8, 4:12] = 1
        noise = np.random.default_rng(number).normal(100 * mask, 5).astype(np.float32)
        for name, array in (("scan", noise), ("seg", mask)):
            path = tmp_path / "data" / f"p{number:02d}" / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == "tif":
                tifffile.imwrite(path, array, photometric="minisblack")
            elif ending == "npy":
                np.save(path, array.transpose(2, 1, 0))
            else:
                image = itk.GetImageFromArray(array)
                image.SetSpacing((0.5, 0.5, 2.0))
                itk.WriteImage(image, str(path))
    code, out, err = stampbench("datasets", "inspect", "data")
    assert (code, err) == (0, ""), out
    (words,) = commands(out)
    assert words[words.index("--images") + 1] == f"{{case}}/scan.{ending}"
    more = () if ending in ("nrrd", "mhd") else ("--spacing", "0.5x0.5x2")
    assert stampbench(*words, *more)[0] == 0
    code, out, _ = stampbench("datasets", "check", "data.yaml")
    assert code == 0, out
    assert "| 0.5 × 0.5 × 2 |" in out
    assert "1 errors" not in out
    if ending in ("nrrd", "tif"):
        code, _, err = stampbench(*words, "--force")
        assert code == 0, err
        run = ("run", "--strategy", "standard", "--dataset", "data.yaml", *SHORT, "--spatial-dims", "2")
        assert stampbench(*run)[::2] == (0, "")
        code, out, _ = stampbench("leaderboard", "--dataset", "data.yaml")
        assert (code, "standard" in out) == (0, True)


def test_overlapping_structures_get_an_order_and_a_question(stampbench: Command, tmp_path: Path) -> None:
    for number in range(12):
        pair(tmp_path / "data", f"images/{number}.png", f"masks/organ/{number}.png", number)
        lesion = np.zeros((20, 24), np.uint8)
        lesion[number % 8 + 1 : number % 8 + 3, 5:8] = 1
        path = tmp_path / "data" / "masks" / "lesion" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(lesion).save(path)
    code, out, _ = stampbench("datasets", "inspect", "data")
    assert code == 0, out
    assert "question: which classes keep the voxels that several claim? " in out
    assert "6 voxels belong to both" in out
    (words,) = commands(out)
    assert words[words.index("--priority") + 1] == "lesion,organ"
    assert stampbench(*words)[1].startswith("data.yaml: 12 cases")


def test_files_without_a_partner_are_ignored_by_the_command(stampbench: Command, tmp_path: Path) -> None:
    for number in range(12):
        pair(tmp_path / "data", f"train/image/{number}.png", f"train/mask/{number}.png", number)
    pair(tmp_path / "data", "test/image/40.png", "train/mask/50 [a].png", 1)
    code, out, _ = stampbench("datasets", "inspect", "data")
    (words,) = commands(out)
    assert code == 0
    assert "not sure: label maps" in out
    assert "without a partner, to be ignored: test/image/*, train/mask/50 [[]a].png" in out
    assert [words[at + 1] for at, word in enumerate(words) if word == "--ignore"] == [
        "test/image/*", "train/mask/50 [[]a].png"
    ]  # fmt: skip
    assert stampbench(*words)[1].startswith("data.yaml: 12 cases")


def test_images_in_several_formats_are_one_group(stampbench: Command, tmp_path: Path) -> None:
    for number in range(12):
        pair(tmp_path / "data", f"i/{number}.{'png' if number % 2 else 'bmp'}", f"m/{number}.png", number)
    code, out, _ = stampbench("datasets", "inspect", "data")
    (words,) = commands(out)
    assert (code, words[words.index("--images") + 1]) == (0, "i/{case}.*")
    assert stampbench(*words)[1].startswith("data.yaml: 12 cases")


def test_folders_that_cannot_be_guessed_are_reported(
    decathlon: Callable[..., Path], stampbench: Command, tmp_path: Path
) -> None:
    code, out, _ = stampbench("datasets", "inspect", decathlon())
    assert (code, commands(out)[0][:2]) == (0, ["datasets", "check"])
    (tmp_path / "empty").mkdir()
    code, _, err = stampbench("datasets", "inspect", "empty")
    assert (code, "empty: contains no image files" in err) == (2, True)
    assert stampbench("datasets", "inspect", "absent")[::2] == (2, "error: folder 'absent' does not exist\n")
    pair(tmp_path / "images", "a/1.png", "b/1.png", 1)
    shutil.rmtree(tmp_path / "images" / "b")
    code, out, _ = stampbench("datasets", "inspect", "images")
    assert (code, "question: which files are label maps?" in out) == (1, True)
