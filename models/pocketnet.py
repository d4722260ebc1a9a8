"""PocketNet's networks: U-Net, ResNet and DenseNet blocks at doubling or constant width (Celaya et al. 2022).

Two constructions, because the paper's two tables were made with different code. The one of Table 1: a
skip on every level, upsampled channels first. `lits2021`, that of Table 2: a 7-convolution before
everything, no level-wise skips, the stem's output joining only before the head, linear 1-convolutions
that double the width, and channelwise dropout after every block. Neither has normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, PositiveInt
from torch import Tensor, nn

from stampbench.models.activation_checkpointing import recomputed
from stampbench.models.cpu_kernels import Kernels, convolve, runs_fast
from stampbench.models.errors import ModelError
from stampbench.models.unet import CONV, DROPOUT, POOL, UPCONV

Block = Literal["unet", "resnet", "densenet"]
_LITS_DROPOUT = 0.25


class PocketNetArchitecture(BaseModel, frozen=True, extra="forbid"):
    """One of PocketNet's networks as plain data.

    `f` features on the first level, on every level if `pocket`, else doubled on each of `depth` poolings.
    In 3D, pooling is in-plane: the last axis keeps its size, as (1, 2, 2) does in the authors' slice-first code.
    """

    family: Literal["pocketnet"] = "pocketnet"
    spatial_dims: Literal[2, 3]
    in_channels: PositiveInt
    out_channels: PositiveInt
    depth: PositiveInt = 4
    f: PositiveInt = 16
    block: Block = "unet"
    pocket: bool = True
    construction: Literal["table1", "lits2021"] = "table1"

    @property
    def widths(self) -> tuple[int, ...]:
        """Features on each level, the bottleneck last."""
        return tuple(self.f if self.pocket else self.f * 2**level for level in range(self.depth + 1))

    @property
    def divisors(self) -> tuple[int, ...]:
        """What the size of each axis must be a multiple of."""
        return tuple(2**self.depth if stride == 2 else 1 for stride in self.stride)

    @property
    def stride(self) -> tuple[int, ...]:
        """Of pooling and upsampling, per axis."""
        return (2, 2) if self.spatial_dims == 2 else (2, 2, 1)

    @property
    def layers(self) -> Mapping[str, int]:
        """Nothing here can be pruned: additions tie the layers together."""
        return {}

    def prunable(self, min_filters: int = 1) -> bool:
        return False


class PocketBlock(nn.Module):
    """Two 3-convolutions with ReLU, joined in the block's way; every block ends in `width` channels."""

    def __init__(self, architecture: PocketNetArchitecture, in_channels: int, width: int) -> None:
        super().__init__()
        conv, self.kind = CONV[architecture.spatial_dims], architecture.block
        # In the code of Table 2, the second convolution of a dense block does not see the block's input.
        self.dense_input = self.kind == "densenet" and architecture.construction == "table1"
        self.both_residual = architecture.construction == "lits2021"
        self.first = conv(in_channels, width, kernel_size=3, padding=1)
        self.second = conv(width + in_channels * self.dense_input, width, kernel_size=3, padding=1)
        if self.kind == "densenet":
            self.join = conv(in_channels + 2 * width, width, kernel_size=1)

    def forward(self, x: Tensor, fast: bool = False) -> Tensor:
        first = torch.relu(convolve(self.first, x, fast))
        if self.kind == "resnet" and self.both_residual:
            first = first + x
        second = torch.relu(convolve(self.second, torch.cat([x, first], 1) if self.dense_input else first, fast))
        if self.kind == "resnet":
            return first + second
        if self.kind == "unet":
            return second
        return torch.relu(convolve(self.join, torch.cat([x, first, second], 1), fast))


class PocketNet(nn.Module):
    """Maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`."""

    kernels: Kernels = "plain"
    save_memory: bool = False

    def __init__(self, architecture: PocketNetArchitecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        dims, widths, lits = a.spatial_dims, a.widths, a.construction == "lits2021"
        inputs = (a.in_channels, *widths[:-1])
        if lits:
            self.stem = CONV[dims](a.in_channels, a.f, kernel_size=7, padding=3)
            inputs = widths
            self.widen = nn.ModuleList(
                CONV[dims](below, above, kernel_size=1) if below != above else nn.Identity()
                for below, above in pairwise(widths)
            )
        self.dropout = DROPOUT[dims](_LITS_DROPOUT if lits else 0.0)
        self.down = nn.ModuleList(PocketBlock(a, i, width) for i, width in zip(inputs, widths, strict=True))
        self.pool = POOL[dims](kernel_size=a.stride)
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upconvs = nn.ModuleList(
            UPCONV[dims](below, above, kernel_size=a.stride, stride=a.stride)  # type: ignore[arg-type]
            for below, above in ups
        )
        self.up = nn.ModuleList(PocketBlock(a, above if lits else 2 * above, above) for _, above in ups)
        self.head = CONV[dims](2 * a.f if lits else a.f, a.out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        lits = self.architecture.construction == "lits2021"
        fast = runs_fast(self.kernels, x)
        stem = x = torch.relu(convolve(self.stem, x, fast)) if lits else x
        skips = []
        for level, block in enumerate(self.down):
            if level > 0:
                x = self.pool(convolve(self.widen[level - 1], x, fast) if lits else x)
            x = self.dropout(self._block(block, x, fast))
            skips.append(x)
        for step, (upconv, block) in enumerate(zip(self.upconvs, self.up, strict=True), start=2):
            x = convolve(upconv, x, fast)
            x = self.dropout(self._block(block, x if lits else torch.cat([x, skips[-step]], 1), fast))
        return convolve(self.head, torch.cat([x, stem], 1) if lits else x, fast)

    def _block(self, block: nn.Module, x: Tensor, fast: bool) -> Tensor:
        output: Tensor = recomputed([block], x, fast) if self.save_memory and self.training else block(x, fast)
        return output

    def activations(self) -> dict[str, nn.Module]:
        """Nothing is ranked, because nothing can be pruned."""
        return {}

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Refused: the published networks have none to set."""
        if probabilities:
            raise ModelError(f"a PocketNet has no dropout in '{next(iter(probabilities))}'")

    def dropout_probabilities(self) -> dict[str, float]:
        """Per layer whose dropout can be set: none."""
        return {}
