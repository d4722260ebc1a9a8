"""A process that trains a network as a run does, on request, so that several runs can share a device.

It reads a JSON configuration from its arguments, and then lines with numbers of epochs; for each line it trains and
prints seconds, and three zeros where `worker.py` prints what else it measures.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Draw, plan_run
from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.dataset import open_dataset
from stampbench.models.architecture import UNetArchitecture


def new_trainer(settings: dict[str, Any], folder: Path) -> RunTrainer:
    """Return a trainer with random volumes on a device.

    Args:
        settings: `device`, `kernels`, spatial `size`, `batch`, number of `images`, `f` and `depth` of the U-Net.
        folder: folder for its state.
    """
    protocol = resolve_protocol("quick", {"batch_size": str(settings["batch"])})
    (resolved,) = resolve_strategies(["standard"], protocol, {})
    run = plan_run(resolved, open_dataset(find_definition("phantom3d")), protocol, Draw(25, fold=0, seed=0))
    number, size = settings["images"], tuple(settings["size"])
    torch.manual_seed(0)
    images = Images(
        torch.randn(number, 1, *size).to(settings["device"]),
        torch.randint(3, (number, *size), dtype=torch.uint8).to(settings["device"]),
        torch.arange(number, device=settings["device"]),
    )
    data = FoldData(images, images.take(torch.arange(2)), ("background", "one", "two"), 1, size)
    architecture = UNetArchitecture.doubling(3, 1, 3, f=settings["f"], depth=settings["depth"])
    compute = ComputeSettings(device=settings["device"], kernels=settings["kernels"])
    return RunTrainer(run.spec, architecture, data, compute, Progress("bench", 1, quiet=True), ResumeFile(folder))


def main() -> None:
    """Train on request until the input ends."""
    settings = json.loads(sys.argv[1])
    configure_process(ComputeSettings(device=settings["device"], threads=1))
    with tempfile.TemporaryDirectory() as folder:
        trainer = new_trainer(settings, Path(folder))
        for line in sys.stdin:
            started = time.perf_counter()
            trainer.train(int(line))  # it reads the loss, and so waits for the device
            print(time.perf_counter() - started, 0, 0, 0, flush=True)


if __name__ == "__main__":
    main()
