"""The command line as a user meets it: in a process of its own where that matters."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

TINY = ["--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol", "quick"]
PHANTOM = ["--dataset", "phantom2d:size=16,cases=14", "--folds", "0", *TINY]


def test_help_answers_at_once_and_without_torch() -> None:
    code = "import sys; from stampbench.benchmark.cli.main import cli; cli(['--help'], standalone_mode=False); " + (
        "print(sorted({'torch', 'monai', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


@pytest.mark.parametrize("words", [[], ["datasets"]])
def test_a_command_without_arguments_shows_its_help(stampbench, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, _, err = stampbench(*words)
    assert code == 2
    assert err.startswith("Usage: ")
    assert "Commands:" in err


def test_every_command_has_help_with_an_example(stampbench) -> None:  # type: ignore[no-untyped-def]
    for words in (["run"], ["list"], ["datasets"], ["datasets", "show"], ["leaderboard"]):
        code, out, _ = stampbench(*words, "--help")
        assert code == 0
        assert "stampbench " + words[0] in out.split("Usage", 1)[1].split("\n", 1)[1], words


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("strategies", ["standard", "stamp", "stamp_plus"]),
        ("protocols", ["paper", "quick"]),
    ],
)
def test_list(stampbench, what: str, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = stampbench("list", what)
    assert code == 0
    assert set(names) <= {line.split()[0] for line in out.splitlines()}


def test_run_then_leaderboard_in_every_format(stampbench, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    words = ["run", "--strategy", "standard,stamp,stamp_plus", *PHANTOM]
    code, out, _ = stampbench(*words, "--dry-run")
    assert code == 0
    assert "3 runs: 0 finished, 3 to do, 0 failed" in out
    assert not (tmp_path / "runs").exists()
    code, out, _ = stampbench(*words)
    assert code == 0
    assert out.count("test Dice") == 3
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    code, out, _ = stampbench(*words)
    assert code == 0
    assert "3 runs: 3 finished, 0 to do, 0 failed" in out
    assert out.count("cached") == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == records

    code, out, _ = stampbench("leaderboard")
    assert code == 0
    assert "phantom2d (synthetic data" in out
    assert all(f"| {name}" in out for name in ("standard ", "stamp ", "stamp_plus "))
    code, out, _ = stampbench("leaderboard", "--format", "json")
    (board,) = json.loads(out)["boards"]
    assert [row["rank"] for row in board["rows"]] == sorted(row["rank"] for row in board["rows"])
    code, _, _ = stampbench("leaderboard", "--format", "csv", "--output", "board.csv")
    assert len(pd.read_csv(tmp_path / "board.csv")) == 3


def test_prostate_slices_with_two_channels_end_to_end(
    stampbench, decathlon: Callable[..., Path], tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    root = decathlon("Task05_Prostate", cases=16).parent
    code, out, _ = stampbench("datasets", "show", "prostate", "--data-root", root)
    assert code == 0
    assert "T2, ADC" in out
    assert "0 background, 1 PZ, 2 TZ" in out
    assert "10 test subjects; 18 training images" in out
    words = ["--strategy", "stamp_plus", "--folds", "0", *TINY, "--set", "filters_per_step=16"]
    code, _, err = stampbench("run", "--dataset", "prostate", "--data-root", root, *words)
    assert code == 0, err
    (cases,) = (tmp_path / "runs").rglob("cases.csv")
    table = pd.read_csv(cases)
    assert table["case"].nunique() == 10  # volumes, not slices
    assert set(table["class"]) == {"PZ", "TZ"}
    (record,) = (tmp_path / "runs").rglob("run.json")
    assert json.loads(record.read_text())["spec"]["dataset"]["size"] == [320, 320]
    code, out, _ = stampbench("leaderboard")
    assert "HD95 [mm]" in out


def test_bad_input_ends_in_one_line_and_code_2(
    stampbench, decathlon: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    folder = decathlon("Task04_Hippocampus", cases=9, shape=(8, 8, 8), channels=("MRI",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    good = ["run", "--strategy", "standard", *PHANTOM]
    assert stampbench(*good)[0] == 0
    recorded = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    def faulty(*words: object) -> str:
        code, out, err = stampbench(*words)
        assert code == 2, (words, out, err)
        lines = err.splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0]

    run = ["run", "--strategy", "standard", "--folds", "0", *TINY]
    on_phantom = ["run", *PHANTOM, "--strategy"]
    assert "did you mean 'stamp'" in faulty(*on_phantom, "stmp")
    assert "did you mean 'hippocampus'" in faulty(*run, "--dataset", "hipocampus")
    assert "did you mean 'recovery_epochs'" in faulty(*on_phantom, "stamp", "--set", "recovry_epochs=1")
    assert "recovery_epochs='x'" in faulty(*on_phantom, "stamp", "--set", "recovery_epochs=x")
    assert "no dataset.json" in faulty(*run, "--dataset", tmp_path / "empty")
    assert "cannot write runs" in faulty(*good, "--force", "--runs", tmp_path / "file")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device" in faulty(*good, "--force", "--device", "cuda")
    assert "unknown device 'cuda:'" in faulty(*good, "--device", "cuda:")
    assert "unknown device 'tpu'" in faulty(*good, "--device", "tpu")
    assert "Task09_Spleen not found" in faulty(*run, "--dataset", "spleen", "--data-root", tmp_path)
    assert "no finished runs" in faulty("leaderboard", "--dataset", "spleen")
    assert "no runs at" in faulty("leaderboard", "--runs", "nowhere")
    assert "cannot write" in faulty("leaderboard", "--output", tmp_path / "nowhere" / "x.md")
    assert "Missing option" in faulty("run", "--strategy", "stamp")
    assert "No such command" in faulty("runn")

    on_folder = [*run, "--dataset", folder]
    image, label = folder / "imagesTr" / "case_04.nii.gz", folder / "labelsTr" / "case_04.nii.gz"
    whole = {path: path.read_bytes() for path in (image, label)}

    def with_files(**arrays: np.ndarray) -> str:
        for path, key in ((image, "image"), (label, "label")):
            path.write_bytes(whole[path])
            if key in arrays:
                nib.save(nib.Nifti1Image(arrays[key], np.diag([0.6, 0.6, 4.0, 1.0])), path)
        return faulty(*on_folder)

    assert "the label map has size 8×8×9" in with_files(label=np.zeros((8, 8, 9), np.uint8))
    assert "label value 9 is not declared" in with_files(label=np.full((8, 8, 8), 9, np.uint8))
    assert "NaN" in with_files(image=np.full((8, 8, 8), np.nan, np.float32))
    label.write_bytes(whole[label])
    image.write_bytes(whole[image][:60])
    assert "case_04.nii.gz: cannot be read; the file may be truncated" in faulty(*on_folder)
    image.write_bytes(whole[image])
    assert "too few" not in (message := faulty(*on_folder, "--n-train", "40"))
    assert "40 training images requested, but only 7 are available" in message
    assert "no fold 7" in faulty(*run, "--dataset", folder, "--folds", "7")

    assert {path: path.read_bytes() for path in recorded} == recorded


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "stampbench.benchmark", "run", "--strategy", "standard", "--runs", str(tmp_path / "runs"),
        "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--set", "f=2", "--set", "depth=1",
        "--protocol-set", "patience=100000", "--protocol-set",
    ]  # fmt: skip
    process = subprocess.Popen(
        [*command, "max_epochs=100000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 90
    while not list((tmp_path / "runs").rglob("state.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)  # the first one comes after ten seconds of training
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "error: interrupted; run the same command again to resume"
    (state,) = (tmp_path / "runs").rglob("state.pt")
    written = state.stat().st_mtime_ns
    process = subprocess.Popen(
        [*command, "max_epochs=100000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        line = ""
        assert process.stderr is not None
        while "resuming after epoch" not in line and (line := process.stderr.readline()):
            pass
        assert "resuming after epoch" in line
        time.sleep(2)  # until an epoch is trained, so that there is something new to save
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert state.stat().st_mtime_ns > written


def test_real_folders_of_four_cases_say_that_five_folds_are_too_many(real_data: Path, stampbench) -> None:  # type: ignore[no-untyped-def]
    folder = real_data / "Dataset158_Prostate158"
    code, _, err = stampbench("run", "--strategy", "stamp", "--dataset", folder, "--folds", "0", "--protocol", "quick")
    assert code == 2
    assert "3 training subjects cannot be split into 5 folds; use 2 to 3 folds" in err
