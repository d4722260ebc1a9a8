"""Whole runs on real data; minutes, hence slow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from stampbench.benchmark.choices import choose_dataset, choose_protocol, choose_strategies
from stampbench.benchmark.compute import Compute
from stampbench.benchmark.evaluation import evaluate
from stampbench.benchmark.progress import Progress
from stampbench.benchmark.runner import execute, plan_run, prepare
from stampbench.benchmark.store import RunStore
from stampbench.datasets.dataset import open_dataset
from stampbench.models.unet import UNet


@pytest.mark.slow
def test_fast_kernels_and_plain_ones_agree_on_hippocampus(real_data: Path, tmp_path: Path) -> None:
    """To the digits that docs/performance.md states."""
    dataset = open_dataset(choose_dataset("hippocampus"), real_data)
    protocol = choose_protocol("quick", [])
    (choice,) = choose_strategies("stamp_plus", protocol, ["filters_per_step=50", "recovery_epochs=1"])
    run = plan_run(choice, dataset, protocol, n_train=25, fold=0, seed=0)
    progress = Progress("test", 1, quiet=True)
    prepared = prepare([run], progress)
    losses = []
    for kernels in ("plain", "fast"):
        store = RunStore(tmp_path / kernels)
        execute(run, prepared, store, Compute(kernels=kernels), progress)  # type: ignore[arg-type]
        losses.append(pd.read_csv(store.read(run.spec)[0] / "trajectory.csv")["training_loss"])
    plain, fast = losses
    assert len(plain) == len(fast) > 1
    assert fast[0] == pytest.approx(plain[0], abs=1e-3)
    assert fast[:3].tolist() == pytest.approx(plain[:3].tolist(), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hippocampus", "Dataset120_DSB2018"])
def test_a_short_run_learns_what_an_untrained_network_does_not_know(real_data: Path, tmp_path: Path, name: str) -> None:
    definition = choose_dataset(name if name == "hippocampus" else str(real_data / name))
    dataset = open_dataset(definition, real_data)
    protocol = choose_protocol("quick", [])
    (choice,) = choose_strategies("stamp_plus", protocol, ["filters_per_step=30", "recovery_epochs=2"])
    run = plan_run(choice, dataset, protocol, n_train=25, fold=0, seed=0)
    progress = Progress("test", 1, quiet=True)
    prepared = prepare([run], progress)
    trained = execute(run, prepared, RunStore(tmp_path / "runs"), Compute(), progress)["test_dice"]
    test = [prepared[case] for case in run.split.test]
    rows = evaluate(UNet(run.architecture), test, dataset.classes, torch.device("cpu"))
    untrained = sum(row["dice"] for row in rows) / len(rows)
    assert trained > untrained + 0.3
