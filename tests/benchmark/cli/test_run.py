"""The command `stampbench run`, in a process of its own where that matters."""

from __future__ import annotations

import json
import shutil
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
import torch

from stampbench.benchmark.training.training_step import TrainingStep

Command = Callable[..., tuple[int, str, str]]


TINY = ["--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol", "quick"]


PHANTOM = ["--dataset", "phantom2d:size=16,cases=14", "--folds", "0", *TINY]


def test_finished_runs_are_cached_and_appear_in_the_leaderboard(stampbench: Command, tmp_path: Path) -> None:
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
    assert [row["tier"] for row in board["rows"]] == [1, 1, 1]
    code, _, _ = stampbench("leaderboard", "--format", "csv", "--output", "board.csv")
    assert len(pd.read_csv(tmp_path / "board.csv")) == 3


def test_two_channel_volumes_are_trained_as_slices_and_scored_as_volumes(
    stampbench: Command, decathlon: Callable[..., Path], tmp_path: Path
) -> None:
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
    assert "HD95 median, 90th [mm]" in out


def test_run_on_patches_records_the_patch_size_and_scores_full_images(
    decathlon: Callable[..., Path], stampbench: Command, tmp_path: Path
) -> None:
    folder = decathlon(shape=(32, 34, 36), cases=8, channels=("T2",))
    words = (
        "run", "--strategy", "stamp", "--dataset", folder, "--folds", "0", "--protocol", "quick", "--protocol-set",
        "folds=2", "--protocol-set", "max_epochs=5", "--set", "f=2", "--set", "depth=1", "--patch-size", "16x16x8",
        "--set", "recovery_epochs=1",
    )  # fmt: skip
    code, out, err = stampbench(*words)
    assert code == 0, out + err
    (run_folder,) = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
    record = json.loads((run_folder / "run.json").read_text())
    assert record["spec"]["dataset"]["patch"] == [16, 16, 8]
    assert record["spec"]["dataset"]["size"] == [32, 48, 48]
    cases = pd.read_csv(run_folder / "cases.csv")
    for row in cases.itertuples():
        label = np.asarray(nib.load(tmp_path / f"Task05_Prostate/labelsTr/{row.case}.nii.gz").dataobj)
        assert row.reference_voxels == (label == {"PZ": 1, "TZ": 2}[row[3]]).sum() > 1000
    assert "cached" in stampbench(*words)[1]
    code, out, _ = stampbench("predict", record["id"], tmp_path / "Task05_Prostate/imagesTr/case_00.nii.gz",
                              "--output", tmp_path / "maps")  # fmt: skip
    assert code == 0
    assert stampbench("latency", record["id"], "--seconds", "0.05", "--backend", "eager")[0] == 0


def test_ctrl_c_saves_the_state_and_the_same_command_resumes(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "stampbench.benchmark", "run", "--strategy", "standard", "--runs", str(tmp_path / "runs"),
        "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--set", "f=2", "--set", "depth=1",
        "--protocol-set", "patience=100000", "--protocol-set", "max_epochs=100000", "--protocol-set", "loss=dice_l2",
        "--save-every",
    ]  # fmt: skip
    process = subprocess.Popen([*command, "1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "runs").rglob("state.pt")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "error: interrupted; run the same command again to resume"
    (state,) = (tmp_path / "runs").rglob("state.pt")
    written = state.stat().st_mtime_ns
    process = subprocess.Popen([*command, "1000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        line = ""
        assert process.stderr is not None
        while "resuming after epoch" not in line and (line := process.stderr.readline()):
            pass
        assert "resuming after epoch" in line
        time.sleep(2)  # an epoch is trained, so that there is something new to save
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert state.stat().st_mtime_ns > written


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_run_on_a_gpu_is_recorded(stampbench: Command, precision: str) -> None:
    code, _, _ = stampbench("run", *PHANTOM, "--strategy", "stamp_plus", "--device", "cuda", "--precision", precision)
    assert code == 0
    (path,) = Path("runs").rglob("run.json")
    assert json.loads(path.read_text())["environment"]["device"] == "cuda"


def test_run_that_runs_out_of_memory_fails_alone(stampbench: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run's second step runs out of memory; the other run of the same process finishes."""
    step, steps = TrainingStep.__call__, 0

    def run_out_once(self: TrainingStep, *batch: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return step(self, *batch)

    monkeypatch.setattr(TrainingStep, "__call__", run_out_once)
    code, _, err = stampbench("run", *PHANTOM, "--strategy", "standard,flat")
    assert code == 1
    records = [json.loads(path.read_text()) for path in Path("runs").rglob("run.json")]
    reasons = {record["spec"]["strategy"]: record.get("reason") for record in records}
    assert reasons["standard"].startswith("memory ran out on cpu with batch size")
    assert reasons["flat"] is None
    assert sum(record["status"] == "finished" for record in records) == 1
    assert "memory ran out" in err


@pytest.mark.gpu
def test_run_that_needs_more_memory_than_the_gpu_has_leaves_it_to_the_next(stampbench: Command) -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**27) / total)
        code, _, err = stampbench("run", *PHANTOM, "--strategy", "standard", "--set", "f=1024", "--device", "cuda")
        assert code == 1
        assert "memory ran out on cuda" in err
        assert stampbench("run", *PHANTOM, "--strategy", "standard", "--device", "cuda:0")[0] == 0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_duplicated_image_is_reported(decathlon: Callable[..., Path], stampbench: Command) -> None:
    """Two cases with the same pixels in different files and with different label maps."""
    folder = decathlon(cases=8)
    image = nib.load(folder / "imagesTr" / "case_03.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine), folder / "imagesTr" / "case_06.nii.gz")
    words = ("run", "--strategy", "standard", "--set", "f=1", "--set", "depth=1", "--dataset", folder, "--folds", "0")
    short = ("--protocol", "quick", "--protocol-set", "folds=2", "--protocol-set", "max_epochs=1")
    code, _, err = stampbench(*words, *short, "--spatial-dims", "2")
    assert code == 0
    assert "warning: Task05_Prostate: cases case_03, case_06 have the same image but different subjects" in err
    assert "delete all but one of them" in err


def test_a_copied_image_is_reported_before_runs_are_given_to_a_cluster(
    decathlon: Callable[..., Path], stampbench: Command
) -> None:
    folder = decathlon(cases=8)
    shutil.copy(folder / "imagesTr" / "case_03.nii.gz", folder / "imagesTr" / "case_06.nii.gz")
    words = ("run", "--strategy", "standard", "--dataset", folder, "--folds", "0", "--protocol", "quick")
    code, _, err = stampbench(*words, "--protocol-set", "folds=2", "--executor", "slurm")
    assert "warning: Task05_Prostate: cases case_03, case_06 have the same image but different subjects" in err
    assert (code, "error: executor 'slurm'" in err) == (2, True)  # it is not installed here
