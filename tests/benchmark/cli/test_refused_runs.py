"""Runs that `stampbench run` refuses before training, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

Command = Callable[..., tuple[int, str, str]]
TINY = ["--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol", "quick"]
PHANTOM = ["--dataset", "phantom2d:size=16,cases=14", "--folds", "0", *TINY]


def test_invalid_input_ends_with_one_line_and_exit_code_2(
    stampbench: Command, decathlon: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = decathlon("Task04_Hippocampus", cases=9, shape=(8, 8, 8), channels=("MRI",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    valid = ["run", "--strategy", "standard", *PHANTOM]
    assert stampbench(*valid)[0] == 0
    recorded = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    def error_line(*words: object) -> str:
        code, out, err = stampbench(*words)
        assert code == 2, (words, out, err)
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0]

    run = ["run", "--strategy", "standard", "--folds", "0", *TINY]
    on_phantom = ["run", *PHANTOM, "--strategy"]
    assert "did you mean 'stamp'" in error_line(*on_phantom, "stmp")
    assert "did you mean 'hippocampus'" in error_line(*run, "--dataset", "hipocampus")
    assert "did you mean 'recovery_epochs'" in error_line(*on_phantom, "stamp", "--set", "recovry_epochs=1")
    assert "recovery_epochs='x'" in error_line(*on_phantom, "stamp", "--set", "recovery_epochs=x")
    assert "no dataset.json" in error_line(*run, "--dataset", tmp_path / "empty")
    assert "cannot write runs" in error_line(*valid, "--force", "--runs", tmp_path / "file")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device" in error_line(*valid, "--force", "--device", "cuda")
    assert "unknown device 'cuda:'" in error_line(*valid, "--device", "cuda:")
    assert "unknown device 'tpu'" in error_line(*valid, "--device", "tpu")
    assert "Task09_Spleen not found" in error_line(*run, "--dataset", "spleen", "--data-root", tmp_path)
    assert "no finished runs" in error_line("leaderboard", "--dataset", "spleen")
    assert "no runs at" in error_line("leaderboard", "--runs", "nowhere")
    assert "cannot write" in error_line("leaderboard", "--output", tmp_path / "nowhere" / "x.md")
    assert "Missing option" in error_line("run", "--strategy", "stamp")
    assert "unknown command 'runn'; did you mean 'run'?" in error_line("runn")
    assert "1024" in error_line(*valid, "--threads", "100000")

    on_folder = [*run, "--dataset", folder]
    image, label = folder / "imagesTr" / "case_04.nii.gz", folder / "labelsTr" / "case_04.nii.gz"
    originals = {path: path.read_bytes() for path in (image, label)}

    def error_with_files(**arrays: np.ndarray) -> str:
        for path, key in ((image, "image"), (label, "label")):
            path.write_bytes(originals[path])
            if key in arrays:
                nib.save(nib.Nifti1Image(arrays[key], np.diag([0.6, 0.6, 4.0, 1.0])), path)
        return error_line(*on_folder)

    assert "the label map has size 8×8×9" in error_with_files(label=np.zeros((8, 8, 9), np.uint8))
    assert "label value 9 is not declared" in error_with_files(label=np.full((8, 8, 8), 9, np.uint8))
    assert "NaN" in error_with_files(image=np.full((8, 8, 8), np.nan, np.float32))
    label.write_bytes(originals[label])
    image.write_bytes(originals[image][:60])
    assert "case_04.nii.gz: cannot be read; the file may be truncated" in error_line(*on_folder)
    image.write_bytes(originals[image])
    assert "too few" not in (message := error_line(*on_folder, "--n-train", "40"))
    assert "40 training images requested, but only 7 are available" in message
    assert "no fold 7" in error_line(*run, "--dataset", folder, "--folds", "7")

    assert {path: path.read_bytes() for path in recorded} == recorded


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--patch-size", "16x16"), "patch size 16×16 does not fit 3D images"),
        (("--patch-size", "a"), "--patch-size 'a': not a size such as 64x64x64"),
        (("--patch-size", "15x16x16"), "needs sizes that are multiples of 2, but Task05_Prostate has 15"),
        (("--image-size", "0x4"), "--image-size '0x4': not a size"),
        (("--image-size", "32x32"), "size 32×32 does not fit 3D images"),
        (("--seed", str(2**63)), f"--seed={2**63}: input should be less than {2**63}"),
        (("--training-set", str(2**63)), f"--training-set={2**63}: input should be less than"),
    ],
)
def test_sizes_that_do_not_fit_the_images_and_huge_numbers_are_refused(
    words: tuple[str, ...], message: str, decathlon: Callable[..., Path], stampbench: Command
) -> None:
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", decathlon(), "--set", "depth=1", *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_real_folder_of_four_cases_is_refused_with_five_folds(real_data: Path, stampbench: Command) -> None:
    folder = real_data / "Dataset158_Prostate158"
    code, _, err = stampbench("run", "--strategy", "stamp", "--dataset", folder, "--folds", "0", "--protocol", "quick")
    assert code == 2
    assert "3 training subjects cannot be split into 5 folds; use 2 to 3 folds" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["prune_finetune", "--weights", "absent.pt"], "weights absent.pt: no such file or folder"),
        (["prune_finetune", "--weights", "text.pt"], "weights text.pt: cannot be read"),
        (["prune_finetune", "--weights", "other.pt"], "weights other.pt: not those of the U-Net with 1 channels"),
        (["stamp", "--weights", "other.pt"], "strategy 'stamp': does not start from a trained network"),
    ],
)
def test_weights_that_cannot_be_used_end_in_one_line(
    stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path, words: list[str], problem: str
) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"conv.weight": torch.zeros(2, 2, 3, 3)}, tmp_path / "other.pt")
    dataset = ["--dataset", "phantom2d:size=16,cases=14", "--protocol", "quick", "--set", "depth=1"]
    code, out, err = stampbench("run", "--strategy", *words, *dataset)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err
