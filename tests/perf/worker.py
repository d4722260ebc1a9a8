"""A process that trains on request, so that variants of training that differ by process can be timed in turns.

It reads a JSON configuration from its arguments, and then lines. For a line with a number it trains that many epochs;
for the line `prune` it removes a filter and trains one. It prints seconds, minor page faults, its peak memory in
kilobytes and that of the GPU in bytes. The loop `plain` is a usual PyTorch loop: default layout, PyTorch's modules,
Adam and a DataLoader; the loop `package` is that of stampbench.
"""

from __future__ import annotations

import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from stampbench.benchmark.environment.allocator import keep_heap
from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.environment.precision import HALF
from stampbench.benchmark.training.cuda_graphs import make_recorder
from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.losses import make_loss
from stampbench.benchmark.training.recorded_step import RecordedStep
from stampbench.benchmark.training.sampling import Sampler
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.benchmark.training.training_step import TrainingStep
from stampbench.models.architecture import Filter
from stampbench.models.model import build, parse_architecture
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet


class Settings(BaseModel, frozen=True, extra="forbid"):
    """What is trained and how.

    Attributes:
        architecture: the U-Net, as JSON.
        size: spatial size of an image.
        batch: images of a batch.
        batches: batches of an epoch.
        loop: `package` or `plain`.
        device: cpu or cuda.
        threads: CPU threads.
        keep_heap: whether freed memory is kept for reuse.
        kernels: fast or plain.
        recorded: whether fast kernels on a GPU are recorded as CUDA graphs.
        layout: channels-first or channels-last, of weights and images.
        precision: fp32, tf32, bf16 or fp16.
        compiled: whether the network is compiled by torch.compile.
        separate_bias: whether the bias is added after each convolution, in an operation of its own.
        fused_adam: whether Adam updates all weights in one kernel.
        save_memory: activation checkpointing.
        cudnn_benchmark: whether cuDNN times convolutions of each new shape.
        deterministic: whether deterministic algorithms are required.
    """

    architecture: str
    size: tuple[int, ...]
    batch: int
    batches: int = 1
    loop: str = "package"
    device: str = "cpu"
    threads: int = 1
    keep_heap: bool = True
    kernels: str = "fast"
    recorded: bool = True
    layout: str = "channels-first"
    precision: str = "fp32"
    compiled: bool = False
    separate_bias: bool = False
    fused_adam: bool = True
    save_memory: bool = False
    cudnn_benchmark: bool = False
    deterministic: bool = False

    @property
    def compute(self) -> ComputeSettings:
        """The settings of the process."""
        shared = self.model_dump(include=set(ComputeSettings.model_fields))
        return ComputeSettings(**shared, tf32=self.precision == "tf32")


class Training:
    """A network in training."""

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(0)
        self.settings, self._device = settings, torch.device(settings.device)
        architecture = parse_architecture(settings.architecture)
        model = build(architecture, settings.compute.kernels).to(self._device)
        assert isinstance(model, UNet)
        self.model, self._loss, self._generator = model, make_loss("dice_ce"), torch.Generator()
        model.save_memory = settings.save_memory
        half = HALF.get(settings.precision)
        self._autocast = partial(torch.autocast, settings.device, half, enabled=half is not None)
        self._scaler = torch.amp.GradScaler(settings.device) if settings.precision == "fp16" else None
        number = settings.batch * settings.batches
        pixels = torch.randn(number, architecture.in_channels, *settings.size)
        labels = (torch.rand(number, *settings.size) * architecture.out_channels).to(torch.uint8)
        self._loader = DataLoader(TensorDataset(pixels, labels), batch_size=settings.batch, shuffle=True)
        images = Images(pixels.to(self._device), labels.to(self._device), torch.arange(number, device=self._device))
        images = images._replace(pixels=self._laid_out(images.pixels))
        self._sampler = Sampler(FoldData(images, images, (), 1, tuple(images.shape)), settings.batch)
        self._renew()

    def train(self, epochs: int = 1) -> float:
        """Train some epochs; return the mean loss of the last one."""
        loss = 0.0
        for _ in range(epochs):
            batches = self._loader if self.settings.loop == "plain" else self._sampler.shuffled(self._generator)
            loss = train_epoch(self._step, batches)
        return loss

    def prune(self) -> float:
        """Remove a filter of the widest layer and train an epoch; return its loss."""
        layers = self.model.architecture.layers
        remove_filters(self.model, [Filter(max(layers, key=lambda name: layers[name]), 0)])
        self._renew()
        return self.train()

    def _renew(self) -> None:
        settings, model = self.settings, self.model.train()
        if settings.layout == "channels-last":
            model.to(memory_format=torch.channels_last if len(settings.size) == 2 else torch.channels_last_3d)
        if settings.separate_bias:
            separate_bias(model)
        if settings.compiled:
            model.compile()
        plain = settings.loop == "plain"
        fused = True if settings.fused_adam and not plain else None  # None: as PyTorch chooses
        adam = torch.optim.Adam(model.parameters(), lr=0.005, fused=fused)
        step = TrainingStep(adam, self._batch_loss, self._scaler)
        recorder = make_recorder(settings.compute, settings.precision) if settings.recorded and not plain else None
        self._step = RecordedStep(step, recorder, settings.batch, lambda: None)

    def _batch_loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        with self._autocast():
            logits = self.model(self._laid_out(pixels.to(self._device)))
        value: Tensor = self._loss(logits.float(), labels.to(self._device).long().unsqueeze(1))
        return value

    def _laid_out(self, pixels: Tensor) -> Tensor:
        if self.settings.layout == "channels-first":
            return pixels
        return pixels.contiguous(memory_format=torch.channels_last if pixels.ndim == 4 else torch.channels_last_3d)


def separate_bias(model: nn.Module) -> None:
    """Let every convolution of a network add its bias in an operation of its own."""
    plain = {
        nn.Conv2d: partial(functional.conv2d, padding=1),
        nn.Conv3d: partial(functional.conv3d, padding=1),
        nn.ConvTranspose2d: partial(functional.conv_transpose2d, stride=2),
        nn.ConvTranspose3d: partial(functional.conv_transpose3d, stride=2),
    }

    def forward(module: Any, x: Tensor) -> Tensor:
        convolve = plain[type(module)]
        pointwise = module.kernel_size[0] == 1
        output: Tensor = convolve(x, module.weight, **({"padding": 0} if pointwise else {}))
        return output.add_(module.bias.to(output.dtype).view(-1, *[1] * (x.ndim - 2)))

    for module in model.modules():
        if type(module) in plain:
            module.forward = partial(forward, module)  # type: ignore[method-assign]


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
    settings = Settings.model_validate_json(sys.argv[1])
    configure_process(settings.compute)
    if settings.keep_heap:
        keep_heap()
    training = Training(settings)
    for line in sys.stdin:
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
        if line.strip() == "prune":
            training.prune()
        else:
            training.train(int(line))
        seconds = time.perf_counter() - started
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        on_gpu = torch.cuda.max_memory_allocated() if settings.device == "cuda" else 0
        print(seconds, faults, peak_kilobytes(), on_gpu, flush=True)


if __name__ == "__main__":
    main()
