"""Trainers of tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Run, prepare_cases
from stampbench.benchmark.training.fold_data import load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.strategies.testing import CountingTrainer


@pytest.fixture
def make_trainer(compute: ComputeSettings) -> Callable[..., CountingTrainer]:
    """Function that makes the trainer of a run.

    A trainer of the same run and folder resumes from the state that an earlier one saved there. Compute settings are
    those of `--kernels`, unless others are given.
    """

    def make(run: Run, folder: Path, settings: ComputeSettings | None = None) -> CountingTrainer:
        settings = settings or compute
        progress = Progress("test", 1, quiet=True)
        data = load_fold(run.split, prepare_cases([run], progress), run.dataset, settings.torch_device)
        return CountingTrainer(run.spec, run.architecture, data, settings, progress, ResumeFile(folder / "resume"))

    return make
