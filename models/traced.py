"""Modules of registered networks, whose filters are found by tracing: removal, dropout and what rankings see."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stampbench.models.channel_removal import keep_channels
from stampbench.models.channels import Segment
from stampbench.models.cpu_kernels import Kernels
from stampbench.models.errors import ModelError
from stampbench.models.traced_architecture import TracedArchitecture, built

# PyTorch compares a number that an InstanceNorm without weights does not need.
warnings.filterwarnings("ignore", message="input's size at dim=1 does not match num_features")


class TracedModel(nn.Module):
    """Module of any network; it maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`.

    In training mode, a network with deep supervision returns a list of logits, of which the first has the size of the
    images.

    A filter is a channel that later convolutions read. A removed filter, and one that dropout silences, is one of
    which all of them read zeros.

    Attributes:
        architecture: The current architecture; `remove_filters` updates it.
        net: The network's own module.
        kernels: Not used: these networks have PyTorch's kernels.
        save_memory: Not used either.
    """

    kernels: Kernels = "plain"
    save_memory: bool = False

    def __init__(self, architecture: TracedArchitecture) -> None:
        super().__init__()
        a = architecture
        self.net = built(a.name, a.network, a.spatial_dims, a.in_channels, a.out_channels)
        self.architecture = a
        self._shrink()
        self._probabilities: dict[str, float] = {}
        self._masks: dict[str, Tensor] = {}
        self._dropout_hooks: list[Any] = []
        self.net.train(self.training)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of images; in training mode with deep supervision a list of them.

        Raises:
            ModelError: when the shape of `x` does not fit the architecture.
        """
        self._check_input(x)
        self._masks.clear()
        output = self.net(x)
        if isinstance(output, Tensor) and output.ndim == x.ndim:
            return output
        heads = list(output.unbind(1)) if isinstance(output, Tensor) else list(output)
        return heads if self.training else heads[0]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return every tensor under one name, also where modules have several."""
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        aliases = self._aliases()
        return {name: value for name, value in state.items() if name not in aliases}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned."""
        aliases = {alias: state_dict[name] for alias, name in self._aliases().items() if name in state_dict}
        return super().load_state_dict({**state_dict, **aliases}, strict, assign)

    def _aliases(self) -> dict[str, str]:
        """Return, for every further name of a tensor, its first name."""
        first: dict[int, str] = {}
        aliases = {}
        for name, value in super().state_dict(keep_vars=True).items():
            if first.setdefault(id(value), name) != name:
                aliases[name] = first[id(value)]
        return aliases

    def layer_segments(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return segments of the unpruned network with the filters that are left."""
        layers = self.architecture.layers
        return [Segment(layer, width if layer is None else layers[layer]) for layer, width in segments]

    def writers(self, layer: str) -> list[nn.Module]:
        """Return the convolutions that compute the filters of a layer."""
        return [self.net.get_submodule(path) for path in self.architecture.channels.writers[layer]]

    @contextmanager
    def watched(self, callback: Callable[[str, Tensor], None]) -> Iterator[None]:
        """Call `callback(layer, signal)` in every forward pass, once for each prunable layer.

        The signal `(N, filters, *spatial)` is what the first convolution that reads the layer receives. It is part of
        the graph of gradients.
        """

        def report(
            new: set[str], segments: Sequence[Segment], _reader: nn.Module, inputs: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            parts = torch.split(inputs[0], [width for _, width in segments], dim=1)
            for (layer, _), part in zip(segments, parts, strict=True):
                if layer is not None and layer in new:
                    callback(layer, part)
            return (torch.cat(parts, dim=1), *inputs[1:]) if torch.is_grad_enabled() else inputs

        seen: set[str] = set()
        hooks = []
        for path, segments in self.architecture.channels.readers.items():
            new = {layer for layer, _ in segments if layer is not None} - seen
            if new:
                seen |= new
                hook = partial(report, new, self.layer_segments(segments))
                hooks.append(self.net.get_submodule(path).register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for each in hooks:
                each.remove()

    def infer_layers(self, images: Tensor) -> None:
        """Run the forward pass, for what is watched."""
        self(images)

    def filter_weights(self) -> dict[str, Tensor]:
        """Return, for each prunable layer, the weights that compute its filters, `(filters, weights)`."""
        weights = {}
        for layer, width in self.architecture.layers.items():
            kernels = []
            for path in self.architecture.channels.writers[layer]:
                module = self.net.get_submodule(path)
                dim = 1 if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d) else 0
                start = 0
                for name, length in self.layer_segments(self.architecture.channels.places[f"{path}.weight", dim]):
                    if name == layer:
                        own = module.weight.detach().narrow(dim, start, length)  # type: ignore[union-attr,operator]
                        kernels.append(own.transpose(0, dim).reshape(width, -1))
                    start += length
            weights[layer] = torch.cat(kernels, dim=1)
        return weights

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of prunable layers; all that read a layer share its mask.

        Raises:
            ModelError: when a layer is not prunable; only prunable layers have dropout.
        """
        for name, probability in probabilities.items():
            if name not in self.architecture.layers:
                raise ModelError(
                    f"layer '{name}': has no dropout; valid layers are {', '.join(self.architecture.layers)}"
                )
            self._probabilities[name] = float(probability)
        for each in self._dropout_hooks:
            each.remove()
        self._dropout_hooks = [
            self.net.get_submodule(path).register_forward_pre_hook(partial(self._drop, segments))
            for path, segments in self.architecture.channels.readers.items()
            if any(self._probabilities.get(layer or "") for layer, _ in segments)
        ]

    def dropout_probabilities(self) -> dict[str, float]:
        """Return the dropout probability of each prunable layer."""
        return {name: self._probabilities.get(name, 0.0) for name in self.architecture.layers}

    def _shrink(self) -> None:
        """Remove the filters that the architecture does not have, and initialise the convolutions that lost some."""
        channels, widths = self.architecture.channels, self.architecture.layers
        kept = {name: range(width) for name, width in widths.items() if width < channels.layers[name]}
        if not kept:
            return
        keep_channels(self.net, channels, channels.layers, kept)
        for path, _ in channels.places:
            module = self.net.get_submodule(path.rpartition(".")[0])
            if isinstance(module, nn.modules.conv._ConvNd):
                module.reset_parameters()

    def _drop(self, segments: Sequence[Segment], _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not self.training:
            return None
        x = inputs[0]
        factors = torch.cat([self._mask(segment, x) for segment in self.layer_segments(segments)])
        return (x * factors.movedim(0, 1).reshape(len(x), -1, *[1] * (x.ndim - 2)), *inputs[1:])

    def _mask(self, segment: Segment, x: Tensor) -> Tensor:
        """Return factors `(filters, N)`: 0 for silenced filters, else what keeps the mean."""
        layer, width = segment
        probability = self._probabilities.get(layer or "", 0.0)
        if not probability:
            return x.new_ones(width, len(x))
        assert layer is not None
        if layer not in self._masks:
            kept = x.new_empty(width, len(x)).bernoulli_(1 - probability)
            self._masks[layer] = kept / (1 - probability)
        return self._masks[layer]

    def _check_input(self, x: Tensor) -> None:
        a = self.architecture
        if x.ndim != a.spatial_dims + 2 or x.shape[1] != a.in_channels:
            raise ModelError(
                f"input of shape {tuple(x.shape)}: the network expects (N, {a.in_channels}, "
                f"{', '.join(['size'] * a.spatial_dims)})"
            )
        for size, divisor in zip(x.shape[2:], a.divisors, strict=True):
            if size % divisor:
                raise ModelError(f"input of size {tuple(x.shape[2:])}: sizes must be multiples of {a.divisors}")
