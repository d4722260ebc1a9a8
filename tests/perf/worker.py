"""A process that trains on command, so that ways of training which differ by process can take turns.

Reads a JSON configuration and then, line by line, how many steps to take; answers with seconds and minor page
faults. `plain` is the loop that everybody writes: default layout, PyTorch's modules, Adam, a DataLoader.
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

from stampbench.benchmark.environment.compute_settings import set_up_process
from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.losses import make_loss
from stampbench.benchmark.training.sampling import Sampler
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.models.network import build, parse_architecture


def trainer(settings: dict[str, Any]) -> Callable[[int], None]:
    """A function that trains so many steps."""
    torch.manual_seed(0)
    size, batch = settings["size"], settings["batch"]
    model = build(parse_architecture(settings["architecture"]), settings.get("kernels", "plain"))
    model.save_memory = settings.get("save_memory", False)
    model.train()
    if settings.get("compiled"):
        # Where compilation pays most; inductor's own BatchNorm is exact in this layout.
        layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
        model.to(memory_format=layout)
        model.compile()
    classes = model.architecture.out_channels
    loss, half = make_loss("dice_ce"), settings.get("precision") == "bf16"
    pixels, labels = torch.randn(batch, 1, *size), (torch.rand(batch, *size) * classes).to(torch.uint8)

    def batch_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(x)
        value: torch.Tensor = loss(logits.float(), y.long().unsqueeze(1))
        return value

    if settings["loop"] == "plain":
        adam = torch.optim.Adam(model.parameters(), lr=0.005)
        loader = DataLoader(TensorDataset(pixels, labels), batch_size=batch, shuffle=True)

        def plain(steps: int) -> None:
            for _ in range(steps):
                for x, y in loader:
                    adam.zero_grad()
                    batch_loss(x, y).backward()
                    adam.step()

        return plain

    optimiser = torch.optim.Adam(model.parameters(), lr=0.005, fused=settings.get("fused_adam", True))
    data = FoldData(images := Images(pixels, labels, torch.arange(batch)), images, (), 1, tuple(images.shape))
    sampler, generator = Sampler(data, batch), torch.Generator()

    def ours(steps: int) -> None:
        for _ in range(steps):
            train_epoch(optimiser, sampler.shuffled(generator), batch_loss)

    return ours


def peak_kilobytes() -> int:
    """The most memory this process ever had; `ru_maxrss` would count the parent's too."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def main() -> None:
    settings = json.loads(sys.argv[1])
    set_up_process(settings["threads"], keep_heap=settings["keep_heap"])
    train = trainer(settings)
    for line in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        train(int(line))
        seconds = time.perf_counter() - started
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        print(seconds, faults, peak_kilobytes(), flush=True)


if __name__ == "__main__":
    main()
