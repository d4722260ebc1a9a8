"""Table of layer latency by widths, which predicts the latency of pruned networks (NetAdapt, Yang et al. 2018).

Timing a whole network cannot tell what one filter saves: that is below the noise. Here every convolution is timed at a
few numbers of input and output channels, and numbers in between are interpolated. Only descriptions were used.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from stampbench.benchmark.measure.stopwatch import stopwatch_for
from stampbench.models.model import Architecture, without_memory
from stampbench.models.unet import NORM

_CALLS, _MILLISECONDS = 5, 10
"""Fewest calls of a layer, and the time from which on no more calls are made."""


class Kind(NamedTuple):
    """All that the time of a convolution depends on, its channels left out.

    Attributes:
        name: Name of PyTorch's class, such as `Conv3d`.
        kernel, stride, padding, output_padding, dilation: As in PyTorch.
        depthwise: Whether every channel has its own kernel.
        bias: Whether it has one.
        size: Spatial size of its input.
    """

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    depthwise: bool
    bias: bool
    size: tuple[int, ...]

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        """Return such a convolution, followed by ReLU and batch norm unless it is pointwise or transposed."""
        cls = getattr(nn, self.name)
        transposed = issubclass(cls, _ConvTransposeNd)
        options: dict[str, Any] = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "bias": self.bias,
        }
        if transposed:
            options["output_padding"] = self.output_padding
        if self.depthwise:
            options["groups"] = outputs
        # Initial weights would take random numbers, which are the run's.
        conv: nn.Module = nn.utils.skip_init(cls, inputs, outputs, self.kernel, **options)  # type: ignore[no-untyped-call]
        for weights in conv.parameters():
            nn.init.constant_(weights, 0.01)
        if transposed or set(self.kernel) == {1}:
            return conv.eval()
        return nn.Sequential(conv, nn.ReLU(inplace=True), NORM[len(self.size)](outputs)).eval()


class Convolution(NamedTuple):
    """One call of a convolution in a forward pass."""

    kind: Kind
    inputs: int
    outputs: int


@lru_cache(maxsize=4096)
def convolutions(architecture: Architecture, size: tuple[int, ...]) -> tuple[Convolution, ...]:
    """Return the convolutions of a forward pass of one image of spatial `size`, without memory for tensors."""
    model = without_memory(architecture).eval()
    found: list[Convolution] = []

    def see(conv: _ConvNd, inputs: tuple[Any, ...], _: Any) -> None:
        depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.groups > 1
        shape = (conv.kernel_size, conv.stride, conv.padding, conv.output_padding, conv.dilation)
        name = f"Conv{'Transpose' if conv.transposed else ''}{len(conv.kernel_size)}d"  # not that of a subclass
        kind = Kind(name, *shape, depthwise, conv.bias is not None, tuple(inputs[0].shape[2:]))
        found.append(Convolution(kind, conv.in_channels, conv.out_channels))

    for module in model.modules():
        if isinstance(module, _ConvNd):
            module.register_forward_hook(see)
    with torch.no_grad():
        model(torch.empty(1, architecture.in_channels, *size, device="meta"))
    return tuple(found)


class LayerLatency:
    """Milliseconds of convolutions, one image at a time, on a grid of input and output channels.

    Attributes:
        times: For each kind, its grid of input channels, of output channels, and the milliseconds `(inputs, outputs)`,
            which never fall when channels are added.
    """

    def __init__(self, times: dict[Kind, tuple[list[int], list[int], list[list[float]]]]) -> None:
        self.times = times

    @classmethod
    def measured(
        cls,
        architecture: Architecture,
        size: tuple[int, ...],
        device: torch.device,
        timer: Callable[[Callable[[], object], torch.device], float] | None = None,
    ) -> LayerLatency:
        """Measure the convolutions of an architecture at all widths up to its own.

        Args:
            architecture: The network before its filters are removed.
            size: Spatial size of an image.
            device: Where to measure.
            timer: Returns the milliseconds of a call; None: the median of a few.
        """
        time_call = timer or _milliseconds
        widest: dict[Kind, tuple[int, int]] = {}
        for kind, inputs, outputs in convolutions(architecture, size):
            most = widest.get(kind, (1, 1))
            widest[kind] = (max(most[0], inputs), max(most[1], outputs))
        times = {}
        for kind, (inputs, outputs) in widest.items():
            rows = [1] if kind.depthwise else _grid(inputs)
            columns = _grid(outputs)
            cells = np.array([[_time(kind, row, column, device, time_call) for column in columns] for row in rows])
            # A wider layer is never faster; where the clock says so, it is noise.
            rising: NDArray[np.float64] = np.maximum.accumulate(np.maximum.accumulate(cells, axis=0), axis=1)
            times[kind] = (rows, columns, rising.tolist())
        return cls(times)

    def covers(self, architecture: Architecture, size: tuple[int, ...]) -> bool:
        """Return whether all convolutions of an architecture are of kinds that were measured."""
        return all(self._known(each.kind) in self.times for each in convolutions(architecture, size))

    def milliseconds(self, architecture: Architecture, size: tuple[int, ...]) -> float:
        """Return the sum over the convolutions of an architecture; wider ones than the measured are extrapolated."""
        return math.fsum(self._of(*each) for each in convolutions(architecture, size))

    def saved(self) -> list[tuple[Any, ...]]:
        """Return the table as plain data, for a resume state."""
        return [(*kind, *cells) for kind, cells in self.times.items()]

    @classmethod
    def restored(cls, rows: Sequence[Sequence[Any]]) -> LayerLatency:
        """Return the table that `saved` returned."""
        fields = len(Kind._fields)
        return cls({Kind(*row[:fields]): tuple(row[fields:]) for row in rows})  # type: ignore[misc]

    def _known(self, kind: Kind) -> Kind:
        # A depthwise convolution of one channel looks like any other of one channel.
        return kind if kind in self.times else kind._replace(depthwise=True)

    def _of(self, kind: Kind, inputs: int, outputs: int) -> float:
        rows, columns, cells = self.times[self._known(kind)]
        low, above = _between(rows, 1 if kind.depthwise else inputs)
        left, right = _between(columns, outputs)
        near, far = (
            (1 - right) * cells[row][left] + right * cells[row][min(left + 1, len(columns) - 1)]
            for row in (low, min(low + 1, len(rows) - 1))
        )
        return float((1 - above) * near + above * far)


def _time(
    kind: Kind, inputs: int, outputs: int, device: torch.device,
    time_call: Callable[[Callable[[], object], torch.device], float],
) -> float:  # fmt: skip
    channels = outputs if kind.depthwise else inputs
    layer = kind.layer(channels, outputs).to(device)
    image = torch.full((1, channels, *kind.size), 0.5, device=device)
    with torch.inference_mode():
        return time_call(lambda: layer(image), device)


def _milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a few calls after one that warms up."""
    taken: list[float] = []
    stopwatch = stopwatch_for("wall", device)
    stopwatch(call, 1)
    while len(taken) < _CALLS or sum(taken) < _MILLISECONDS:
        taken.append(stopwatch(call, 1))
    return float(np.median(taken))


def _grid(most: int) -> list[int]:
    """Return the powers of two and the numbers halfway between those from 8 on, up to `most`, which ends the grid."""
    powers = [2**power for power in range(most.bit_length())]
    return sorted({each for power in powers for each in (power, power * 3 // 2 if power >= 8 else 1)
                   if each < most} | {most})  # fmt: skip


def _between(grid: Sequence[int], channels: int) -> tuple[int, float]:
    """Return the grid's last position at or before a number of channels, and the share of the way to the next."""
    position = min(bisect_right(grid, channels) - 1, max(len(grid) - 2, 0))
    if len(grid) == 1:
        return 0, 0.0
    return position, (channels - grid[position]) / (grid[position + 1] - grid[position])
