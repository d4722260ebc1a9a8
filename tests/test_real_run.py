"""Whole runs on real data; minutes, hence slow."""

from __future__ import annotations

from pathlib import Path

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
@pytest.mark.parametrize("name", ["hippocampus", "Dataset120_DSB2018"])
def test_a_short_run_learns_what_an_untrained_network_does_not_know(real_data: Path, tmp_path: Path, name: str) -> None:
    definition = choose_dataset(name if name == "hippocampus" else str(real_data / name))
    dataset = open_dataset(definition, real_data)
    protocol = choose_protocol("quick", [])
    (choice,) = choose_strategies("stamp_plus", protocol, ["filters_per_step=30", "recovery_epochs=2"])
    run = plan_run(choice, dataset, protocol, n_train=25, fold=0, seed=0)
    progress = Progress("test", 1, quiet=True)
    prepared = prepare([run], tmp_path / "cache", progress)
    trained = execute(run, prepared, RunStore(tmp_path / "runs"), Compute(), progress)["test_dice"]
    test = [prepared[case] for case in run.split.test]
    rows = evaluate(UNet(run.architecture), test, dataset.classes, torch.device("cpu"))
    untrained = sum(row["dice"] for row in rows) / len(rows)
    assert trained > untrained + 0.3
