"""A process that trains on request, so that variants of training that differ by process can be timed in turns.

It reads a JSON configuration from its arguments, and then lines with numbers of steps; for each line it trains and
prints seconds, minor page faults and its peak memory in kilobytes. The loop `plain` is a usual PyTorch loop: default
layout, PyTorch's modules, Adam and a DataLoader; the loop `package` is that of stampbench.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.losses import make_loss
from stampbench.benchmark.training.sampling import Sampler
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.models.model import build, parse_architecture


def trainer(settings: dict[str, Any]) -> Callable[[int], None]:
    """Return a function that trains a given number of steps."""
    torch.manual_seed(0)
    size, batch = settings["size"], settings["batch"]
    model = build(parse_architecture(settings["architecture"]), settings.get("kernels", "plain"))
    model.save_memory = settings.get("save_memory", False)
    model.train()
    if settings.get("compiled"):
        # Compilation gains most in this layout, in which inductor's own BatchNorm is exact.
        layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
        model.to(memory_format=layout)
        model.compile()
    classes = model.architecture.out_channels
    loss, bf16 = make_loss("dice_ce"), settings.get("precision") == "bf16"
    pixels, labels = torch.randn(batch, 1, *size), (torch.rand(batch, *size) * classes).to(torch.uint8)

    def batch_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(x)
        value: torch.Tensor = loss(logits.float(), y.long().unsqueeze(1))
        return value

    if settings["loop"] == "plain":
        adam = torch.optim.Adam(model.parameters(), lr=0.005)
        loader = DataLoader(TensorDataset(pixels, labels), batch_size=batch, shuffle=True)

        def train_plain(steps: int) -> None:
            for _ in range(steps):
                for x, y in loader:
                    adam.zero_grad()
                    batch_loss(x, y).backward()
                    adam.step()

        return train_plain

    optimiser = torch.optim.Adam(model.parameters(), lr=0.005, fused=settings.get("fused_adam", True))
    data = FoldData(images := Images(pixels, labels, torch.arange(batch)), images, (), 1, tuple(images.shape))
    sampler, generator = Sampler(data, batch), torch.Generator()

    def train_like_stampbench(steps: int) -> None:
        for _ in range(steps):
            train_epoch(optimiser, sampler.shuffled(generator), batch_loss)

    return train_like_stampbench


def peak_kilobytes() -> int:
    """Return the peak memory of this process; `ru_maxrss` would include that of the parent process."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def main() -> None:
    """Train on request until the input ends."""
    settings = json.loads(sys.argv[1])
    configure_process(ComputeSettings(device="cpu", threads=settings["threads"]))
    if settings["keep_heap"]:
        keep_heap()
    train = trainer(settings)
    for line in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        train(int(line))
        seconds = time.perf_counter() - started
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(seconds, faults, peak_kilobytes(), flush=True)


if __name__ == "__main__":
    main()
