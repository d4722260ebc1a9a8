"""Whole runs on real data."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Draw, plan_run, prepare_cases
from stampbench.benchmark.execution.runner import Workplace, execute
from stampbench.benchmark.measure.evaluate import evaluate
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.dataset import open_dataset
from stampbench.models.unet import UNet


@pytest.mark.slow
def test_fast_and_plain_kernels_agree_on_hippocampus(real_data: Path, tmp_path: Path) -> None:
    """They agree to the digits that docs/performance.md states."""
    dataset = open_dataset(find_definition("hippocampus"), real_data)
    protocol = resolve_protocol("quick", {})
    (resolved,) = resolve_strategies(["stamp_plus"], protocol, {"filters_per_step": "50", "recovery_epochs": "1"})
    run = plan_run(resolved, dataset, protocol, Draw(25, fold=0, seed=0))
    progress = Progress("test", 1, quiet=True)
    prepared = prepare_cases([run], progress)
    losses = []
    for kernels in ("plain", "fast"):
        store = RunStore(tmp_path / kernels)
        compute = ComputeSettings(device="cpu", kernels=kernels)  # type: ignore[arg-type]
        execute(run, prepared, Workplace(store, compute, progress))
        losses.append(pd.read_csv(store.read(run.spec)[0] / "trajectory.csv")["training_loss"])
    plain, fast = losses
    assert len(plain) == len(fast) > 1
    assert fast[0] == pytest.approx(plain[0], abs=1e-3)
    assert fast[:3].tolist() == pytest.approx(plain[:3].tolist(), abs=0.05)


@pytest.mark.parametrize(
    ("name", "words", "classes", "subjects"),
    [
        ("hippocampus", [], ["Anterior", "Posterior"], 200),
        ("Dataset027_ACDC", ["--spatial-dims", "2", "--subject-pattern", r"(patient\d+)"], ["RV", "MYO", "LV"], 60),
        ("Dataset120_DSB2018", [], ["nucleus"], 334),
        ("Dataset158_Prostate158", ["--spatial-dims", "2"], ["central_gland", "peripheral_zone"], 4),
    ],
)
def test_real_datasets_are_checked_prepared_and_trained_on(
    name: str,
    words: list[str],
    classes: list[str],
    subjects: int,
    real_data: Path,
    tmp_path: Path,
    stampbench: Callable[..., tuple[int, str, str]],
) -> None:
    dataset = [name if name == "hippocampus" else real_data / name, "--data-root", real_data, *words]
    code, out, _ = stampbench("datasets", "check", *dataset, "--overview", "overview.png")
    assert code == 0, out
    assert f"of {subjects} subjects" in out
    assert "look like several images" not in out
    assert stampbench("datasets", "prepare", *dataset)[0] == 0
    code, out, err = stampbench(
        "run", "--strategy", "standard", "--dataset", *dataset, "--folds", "0", "--n-train", "12", "--protocol",
        "quick", "--protocol-set", "folds=2", "--protocol-set", "max_epochs=1", "--set", "f=1", "--set", "depth=2",
    )  # fmt: skip
    assert code == 0, out + err
    (path,) = (tmp_path / "runs").rglob("cases.csv")
    cases = pd.read_csv(path)
    assert cases["class"].unique().tolist() == classes
    held_out = set(cases["subject"])
    assert len(held_out) == round(subjects / 4)
    if "patient" in str(words):
        assert len(set(cases["case"])) == 2 * len(held_out)  # both frames of each patient


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hippocampus", "Dataset120_DSB2018"])
def test_short_run_is_better_than_an_untrained_network(real_data: Path, tmp_path: Path, name: str) -> None:
    definition = find_definition(name if name == "hippocampus" else str(real_data / name))
    dataset = open_dataset(definition, real_data)
    protocol = resolve_protocol("quick", {})
    (resolved,) = resolve_strategies(["stamp_plus"], protocol, {"filters_per_step": "30", "recovery_epochs": "2"})
    run = plan_run(resolved, dataset, protocol, Draw(25, fold=0, seed=0))
    progress = Progress("test", 1, quiet=True)
    prepared = prepare_cases([run], progress)
    place = Workplace(RunStore(tmp_path / "runs"), ComputeSettings(device="cpu"), progress)
    trained = execute(run, prepared, place).test_dice
    test = [prepared[case] for case in run.split.test]
    rows = evaluate(UNet(run.architecture), test, dataset.classes, torch.device("cpu"), EvaluationSettings())
    untrained = sum(row.dice for row in rows) / len(rows)
    assert trained > untrained + 0.3


@pytest.mark.slow
def test_run_on_large_ct_volumes_needs_less_than_four_gigabytes(tmp_path: Path) -> None:
    """Twelve volumes of 512×512×100 take 1.2 GB as prepared slices, so that they are read from disk."""
    folder = tmp_path / "ct"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    x, y, z = np.ogrid[:512, :512, :100]
    body = (x - 256) ** 2 / 200**2 + (y - 256) ** 2 / 170**2 < 1
    for number in range(12):
        rng = np.random.default_rng(number)
        organ = (x - 300 - 5 * number) ** 2 / 60**2 + (y - 250) ** 2 / 45**2 + (z - 50) ** 2 / 30**2 < 1
        image = np.where(body & (z >= 0), 40, -900).astype(np.int16) + 80 * organ
        image += rng.integers(-20, 20, (512, 512, 1), dtype=np.int16)
        for part, values in (("imagesTr", image.astype(np.int16)), ("labelsTr", organ.astype(np.uint8))):
            name = f"ct_{number:02d}" + ("_0000" if part == "imagesTr" else "")
            nib.save(nib.Nifti1Image(values, np.diag([0.8, 0.8, 5.0, 1.0])), folder / part / f"{name}.nii")
    declared = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii"}
    (folder / "dataset.json").write_text(json.dumps(declared))
    subprocess.run(
        [sys.executable, "-m", "stampbench.benchmark", "run", "--strategy", "standard", "--dataset", folder,
         "--spatial-dims", "2", "--folds", "0", "--protocol-set", "max_epochs=1", "--runs", tmp_path / "runs",
         "--quiet"],
        check=True,
    )  # fmt: skip
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4e6  # kilobytes, of the largest child process
