"""PocketNet's networks: U-Net, ResNet and DenseNet blocks at doubling or constant width (Celaya et al. 2022).

There are two constructions, because the authors used different code for the two tables of the paper. Neither
has normalisation layers.

- `table1`, the networks of Table 1, has a skip connection on every level, which is concatenated after the
  upsampled channels.
- `lits2021`, the networks of Table 2, begins with a stem, a convolution of kernel size 7. It has no skip
  connections between levels; only the output of the stem is concatenated before the head. Linear convolutions
  of kernel size 1 double the width, and channelwise dropout follows every block.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from stampbench.models.activation_checkpointing import checkpoint_activations
from stampbench.models.architecture import Channels, Classes, Depth
from stampbench.models.cpu_kernels import Kernels, convolve, uses_fast_kernels
from stampbench.models.errors import ModelError
from stampbench.models.pooling import max_pool
from stampbench.models.unet import CONV, DROPOUT, POOL, UPCONV

Block = Literal["unet", "resnet", "densenet"]
"""How the two convolutions of a block are connected."""

_LITS_DROPOUT = 0.25


class PocketNetArchitecture(BaseModel, frozen=True, extra="forbid"):
    """One of PocketNet's networks as plain data.

    In 3D, pooling is in-plane: the last axis keeps its size. This corresponds to the pooling of (1, 2, 2) in the
    authors' code, whose first axis runs over slices.

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: Channels of the input image.
        out_channels: Output channels.
        depth: Number of pooling steps.
        f: Features on the first level.
        block: Type of block on every level.
        pocket: Whether every level has `f` features; otherwise their number doubles at each pooling step.
        construction: The paper's table whose code is followed; see the module docstring.
    """

    family: Literal["pocketnet"] = "pocketnet"
    spatial_dims: Literal[2, 3]
    in_channels: Channels
    out_channels: Classes
    depth: Depth = 4
    f: Annotated[int, Field(ge=1, le=1024)] = 16
    block: Block = "unet"
    pocket: bool = True
    construction: Literal["table1", "lits2021"] = "table1"

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features on each level; the last one is the bottleneck."""
        return tuple(self.f if self.pocket else self.f * 2**level for level in range(self.depth + 1))

    @property
    def divisors(self) -> tuple[int, ...]:
        """For each spatial axis, the number that the input size must be a multiple of."""
        return tuple(2**self.depth if stride == 2 else 1 for stride in self.stride)

    @property
    def stride(self) -> tuple[int, ...]:
        """Stride of pooling and upsampling along each spatial axis."""
        return (2, 2) if self.spatial_dims == 2 else (2, 2, 1)

    @property
    def layers(self) -> Mapping[str, int]:
        """Prunable layers: none, because additions require layers of equal width."""
        return {}

    def prunable(self, min_filters: int = 1) -> bool:
        """Return False: no filter can be removed."""
        return False


class PocketBlock(nn.Module):
    """Two convolutions of kernel size 3 with ReLU, connected as in a U-Net, ResNet or DenseNet block.

    Every block maps `(N, in_channels, *spatial)` to `(N, width, *spatial)`.
    """

    def __init__(self, architecture: PocketNetArchitecture, in_channels: int, width: int) -> None:
        super().__init__()
        conv, self.kind = CONV[architecture.spatial_dims], architecture.block
        # In the code of Table 2, the second convolution of a dense block does not receive the block's input.
        self.dense_input = self.kind == "densenet" and architecture.construction == "table1"
        self.both_residual = architecture.construction == "lits2021"
        self.first = conv(in_channels, width, kernel_size=3, padding=1)
        self.second = conv(width + in_channels * self.dense_input, width, kernel_size=3, padding=1)
        if self.kind == "densenet":
            self.join = conv(in_channels + 2 * width, width, kernel_size=1)

    def forward(self, x: Tensor, fast: bool = False) -> Tensor:
        """Apply the block; with `fast`, convolutions use the fast CPU kernels."""
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
    """Network that maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`.

    Attributes:
        architecture: The architecture that the module was built from.
        kernels: Implementation of the layers.
        save_memory: Whether training uses activation checkpointing.
    """

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
        """Return the logits of images."""
        lits = self.architecture.construction == "lits2021"
        fast = uses_fast_kernels(self.kernels, x)
        stem = x = torch.relu(convolve(self.stem, x, fast)) if lits else x
        skips = []
        for level, block in enumerate(self.down):
            if level > 0:
                x = max_pool(self.pool, convolve(self.widen[level - 1], x, fast) if lits else x)
            x = self.dropout(self._block(block, x, fast))
            skips.append(x)
        for step, (upconv, block) in enumerate(zip(self.upconvs, self.up, strict=True), start=2):
            x = convolve(upconv, x, fast)
            x = self.dropout(self._block(block, x if lits else torch.cat([x, skips[-step]], 1), fast))
        return convolve(self.head, torch.cat([x, stem], 1) if lits else x, fast)

    def _block(self, block: nn.Module, x: Tensor, fast: bool) -> Tensor:
        if self.save_memory and self.training:
            return checkpoint_activations([block], x, fast)
        output: Tensor = block(x, fast)
        return output

    def activations(self) -> dict[str, nn.Module]:
        """Return the modules whose outputs are ranked: none, because no layer can be pruned."""
        return {}

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Reject any dropout probability: the dropout of the published networks is fixed.

        Raises:
            ModelError: when `probabilities` is not empty.
        """
        if probabilities:
            raise ModelError(f"layer '{next(iter(probabilities))}': PocketNet has no adjustable dropout")

    def dropout_probabilities(self) -> dict[str, float]:
        """Return the dropout probability of each layer with adjustable dropout: there is none."""
        return {}
