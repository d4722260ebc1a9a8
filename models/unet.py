"""2D and 3D U-Net modules, built from an architecture (Dinsdale et al. 2022, §2.4 and Fig. 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from stampbench.models.activation_checkpointing import checkpoint_activations
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.cpu_kernels import (
    Kernels,
    channels_last,
    convolve,
    normalise,
    normalise_and_drop,
    uses_fast_kernels,
)
from stampbench.models.errors import ModelError
from stampbench.models.input_check import check_images
from stampbench.models.pooling import max_pool

# Module classes by the number of spatial dimensions.
CONV: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
UPCONV: dict[int, type[nn.ConvTranspose2d] | type[nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}
NORM: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL: dict[int, type[nn.MaxPool2d] | type[nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
DROPOUT: dict[int, type[nn.Dropout2d] | type[nn.Dropout3d]] = {2: nn.Dropout2d, 3: nn.Dropout3d}


class ConvUnit(nn.Module):
    """Convolution unit: Conv(3, bias) → ReLU → BatchNorm → channelwise dropout, in the order of STAMP's code."""

    conv: nn.Conv2d | nn.Conv3d
    norm: nn.BatchNorm2d | nn.BatchNorm3d
    dropout: nn.Dropout2d | nn.Dropout3d

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = CONV[spatial_dims](in_channels, out_channels, kernel_size=3, padding=1)
        self.activation = nn.ReLU(inplace=True)
        self.norm = NORM[spatial_dims](out_channels)
        self.dropout = DROPOUT[spatial_dims](p=0.0)
        self.see_squares: Callable[[Tensor], None] | None = None
        """Callback for training mode; it receives the sum over space of the squared ReLU output, `(N, out)`."""

    def forward(self, x: Tensor, fast: bool = False) -> Tensor:
        """Map `(N, in, *spatial)` to `(N, out, *spatial)`; with `fast`, use the fast CPU kernels."""
        if fast:
            activation = self.activation(channels_last(convolve(self.conv, x, fast)).to(self.norm.weight.dtype))
            output, squares = self._normalised(activation)
        else:
            # Normalise in the precision of the weights, also when convolutions are autocast to half precision.
            activation = self.activation(self.conv(x)).to(self.norm.weight.dtype)
            output, squares = self.dropout(self.norm(activation)), None
        if self.see_squares is not None and self.training:
            self.see_squares(activation.detach().square().flatten(2).sum(2) if squares is None else squares)
        return output

    def _normalised(self, activation: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.training:
            return normalise_and_drop(activation, self.norm, self.dropout.p)
        return normalise(activation, self.norm), None


class UNet(nn.Module):
    """Network that maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`.

    The background has its own output channel. The sigmoid of §2.4 is applied by the loss and by prediction, not
    by the network. Every spatial size must be a multiple of 2^depth.

    Attributes:
        architecture: The current architecture; `remove_filters` updates it.
        kernels: Implementation of the layers.
        save_memory: Whether training uses activation checkpointing.
    """

    kernels: Kernels = "plain"
    save_memory: bool = False

    def __init__(self, architecture: UNetArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        a, per_level = architecture, architecture.convs_per_level
        self.units = nn.ModuleList(
            ConvUnit(a.spatial_dims, inputs, width) for inputs, width in zip(a.inputs, a.convs, strict=True)
        )
        self.upconvs = nn.ModuleList(
            UPCONV[a.spatial_dims](a.convs[(a.depth + 1 + step) * per_level - 1], width, kernel_size=2, stride=2)
            for step, width in enumerate(a.upconvs)
        )
        self.upsampled = nn.ModuleList(nn.Identity() for _ in a.upconvs)
        """Identity after each transposed convolution, on which hooks can read its output with any kernels."""
        self.pool = POOL[a.spatial_dims](kernel_size=2)
        self.head = CONV[a.spatial_dims](a.convs[-1], a.out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images.

        Raises:
            ModelError: when the shape of `x` does not fit the architecture.
        """
        return convolve(self.head, self.features(x), uses_fast_kernels(self.kernels, x))

    def features(self, x: Tensor, units: int | None = None) -> Tensor:
        """Return the input of the head, or the output of the first `units` convolution units.

        Raises:
            ModelError: when the shape of `x` does not fit the architecture.
        """
        check_images(x, self.architecture.in_channels, self.architecture.divisors)
        per_level, depth = self.architecture.convs_per_level, self.architecture.depth
        fast, used = uses_fast_kernels(self.kernels, x), list(self.units[:units])
        skips: list[Tensor] = []
        for level in range(self.architecture.levels):
            if 0 < level <= depth:
                skips.append(x)
                x = max_pool(self.pool, x)
            elif level > depth:
                step = level - depth - 1
                x = self.upsampled[step](convolve(self.upconvs[step], x, fast))
                x = torch.cat([x, skips.pop()], dim=1)
            level_units = used[level * per_level : (level + 1) * per_level]
            if self.save_memory and self.training:
                x = checkpoint_activations(level_units, x, fast)
            else:
                for unit in level_units:
                    x = unit(x, fast)
        return x

    def unit(self, position: int) -> ConvUnit:
        """Return the convolution unit at a position in forward order, counted from 0."""
        unit = self.units[position]
        assert isinstance(unit, ConvUnit)
        return unit

    def upconv(self, step: int) -> nn.ConvTranspose2d | nn.ConvTranspose3d:
        """Return the transposed convolution of a decoder step; step 0 is the deepest."""
        upconv = self.upconvs[step]
        assert isinstance(upconv, nn.ConvTranspose2d | nn.ConvTranspose3d)
        return upconv

    def layer(self, name: str) -> ConvUnit:
        """Return the convolution unit of a layer such as `conv1`."""
        return self.unit(int(name.removeprefix("conv")) - 1)

    def activations(self) -> dict[str, nn.Module]:
        """Return, for each prunable layer, the module whose output is ranked: the ReLU before BatchNorm (eq. 1).

        A transposed convolution has no ReLU, so its own output is ranked.
        """
        return {
            name: self.layer(name).activation if name.startswith("conv") else self.upsampled[_upconv_step(name)]
            for name in self.architecture.layers
        }

    @contextmanager
    def watched(self, callback: Callable[[str, Tensor], None]) -> Iterator[None]:
        """Call `callback(layer, signal)` in every forward pass, once for each prunable layer.

        The signal `(N, filters, *spatial)` is what `activations` names. It is part of the graph of gradients.
        """

        def report(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
            callback(name, output)

        hooks = [each.register_forward_hook(partial(report, name)) for name, each in self.activations().items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def infer_layers(self, images: Tensor) -> None:
        """Run the forward pass as far as it is watched: up to the last convolution unit, which is never ranked."""
        self.features(images, units=len(self.units) - 1)

    def writers(self, layer: str) -> list[nn.Module]:
        """Return the convolution that computes the filters of a prunable layer, in a list."""
        return [self.layer(layer).conv if layer.startswith("conv") else self.upconv(_upconv_step(layer))]

    def filter_weights(self) -> dict[str, Tensor]:
        """Return, for each prunable layer, the kernels of its filters, `(filters, weights)`."""
        weights = {}
        for name in self.architecture.layers:
            (module,) = self.writers(name)
            weight = module.weight.detach()  # type: ignore[union-attr,operator]
            weights[name] = (weight if name.startswith("conv") else weight.transpose(0, 1)).flatten(1)
        return weights

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of layers `conv1`, `conv2`, …

        The last convolution unit never has dropout. Transposed convolutions have none, and their entries are
        ignored.

        Raises:
            ModelError: when a layer is not prunable; only prunable layers have dropout.
        """
        for name, probability in probabilities.items():
            if name not in self.architecture.layers:
                raise ModelError(
                    f"layer '{name}': has no dropout; valid layers are {', '.join(self.architecture.layers)}"
                )
            if name.startswith("conv"):
                self.layer(name).dropout.p = float(probability)

    def dropout_probabilities(self) -> dict[str, float]:
        """Return the dropout probability of each layer that has dropout."""
        names = (name for name in self.architecture.layers if name.startswith("conv"))
        return {name: self.layer(name).dropout.p for name in names}


def _upconv_step(name: str) -> int:
    return int(name.removeprefix("up")) - 1
