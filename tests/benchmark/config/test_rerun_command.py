"""Command lines that repeat recorded runs."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import torch

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.rerun_command import rerun_command
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.provenance import environment
from stampbench.benchmark.execution.run import Run


def test_rerun_command_plans_the_same_run_with_the_same_compute_settings(
    make_run: Callable[..., Run], stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    for run in (
        make_run("stamp"),
        make_run("retrain_scratch", source_settings='{"f": 1}', step=0),
        make_run("flat", dataset="phantom3d:size=16,cases=9"),
    ):
        recorded_environment = environment(ComputeSettings(device="cpu", kernels="plain", save_memory=True))
        words = shlex.split(rerun_command(run.spec, DatasetDescription.of(run.dataset), recorded_environment))[1:]
        assert shlex.join(words).endswith(
            f"--device cpu --threads {torch.get_num_threads()} --kernels plain --save-memory"
        )
        code, out, err = stampbench(*words, "--dry-run")
        assert code == 0, err
        assert run.spec.id in out
