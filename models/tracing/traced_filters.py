"""The filters of a module of any structure: which are left, their removal, dropout, and what rankings see of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stampbench.models.architecture import Filter, widths_without
from stampbench.models.cut import Cut
from stampbench.models.errors import ModelError
from stampbench.models.tracing.channel_removal import keep_channels
from stampbench.models.tracing.channels import NetworkChannels, Segment


class TracedFilters:
    """Handles on the filters of a module; a filter is a channel that later convolutions read.

    A removed filter, and one that dropout silences, is one of which all of them read zeros.

    Attributes:
        net: The module.
        channels: Where the filters of its unpruned form are.
        widths: Filters of each prunable layer that are left, in the order of the forward pass.
    """

    def __init__(self, net: nn.Module, channels: NetworkChannels) -> None:
        self.net, self.channels = net, channels
        self.widths = dict(channels.layers)
        self._probabilities: dict[str, float] = {}
        self._masks: dict[str, Tensor] = {}
        self._dropout_hooks: list[Any] = []

    def remove(self, filters: Iterable[Filter]) -> list[Cut]:
        """Remove filters in place; all channel indices refer to the module before the call.

        Returns:
            The replaced parameters in order.

        Raises:
            ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would lose
                all its filters.
        """
        filters = list(filters)
        target = widths_without(self.widths, filters)
        kept = {layer: set(range(self.widths[layer])) for layer, *_ in filters}
        for layer, index, *_ in filters:
            kept[layer].remove(index)
        return self._keep({layer: sorted(each) for layer, each in kept.items()}, target)

    def shrink(self, widths: Mapping[str, int]) -> None:
        """Keep the first filters of each layer, as many as `widths` says, and initialise what lost some anew.

        Raises:
            ModelError: when the layers are others, or one has fewer filters.
        """
        if widths.keys() != self.widths.keys() or any(not 0 < widths[name] <= self.widths[name] for name in widths):
            raise ModelError(f"the filters {dict(widths)} are not among those of the module, {self.widths}")
        kept = {name: range(width) for name, width in widths.items() if width < self.widths[name]}
        self._keep(kept, dict(widths))
        for (path, _), segments in self.channels.places.items():
            module = self.net.get_submodule(path.rpartition(".")[0])
            if isinstance(module, nn.modules.conv._ConvNd) and any(layer in kept for layer, _ in segments):
                module.reset_parameters()

    def segments(self, original: Sequence[Segment]) -> list[Segment]:
        """Return segments of the unpruned module with the filters that are left."""
        return [Segment(layer, width if layer is None else self.widths[layer]) for layer, width in original]

    def writers(self, layer: str) -> list[nn.Module]:
        """Return the convolutions that compute the filters of a layer."""
        return [self.net.get_submodule(path) for path in self.channels.writers[layer]]

    @contextmanager
    def watched(self, callback: Callable[[str, Tensor], None]) -> Iterator[None]:
        """Call `callback(layer, signal)` in every forward pass, once for each prunable layer.

        The signal `(N, filters, *spatial)` is what the first convolution that reads the layer receives. If it reads a
        layer several times, as in a concatenation of what was computed from it, the copies follow each other along the
        last spatial axis. The signal is part of the graph of gradients.
        """

        def report(
            new: Sequence[str], segments: Sequence[Segment], _reader: nn.Module, inputs: tuple[Tensor, ...]
        ) -> tuple[Tensor, ...]:
            widths = [width for _, width in segments]
            parts = list(torch.split(inputs[0], widths, dim=1))  # type: ignore[no-untyped-call]
            for name in new:
                copies = [index for index, (layer, _) in enumerate(segments) if layer == name]
                signal = parts[copies[0]] if len(copies) == 1 else torch.cat([parts[i] for i in copies], dim=-1)
                callback(name, signal)
                for index, part in zip(copies, signal.chunk(len(copies), dim=-1), strict=True):
                    parts[index] = part
            return (torch.cat(parts, dim=1), *inputs[1:]) if torch.is_grad_enabled() else inputs

        seen: set[str] = set()
        hooks = []
        for path, segments in self.channels.readers.items():
            new = [layer for layer in dict.fromkeys(layer for layer, _ in segments) if layer and layer not in seen]
            if new:
                seen |= set(new)
                hook = partial(report, new, self.segments(segments))
                hooks.append(self.net.get_submodule(path).register_forward_pre_hook(hook))
        try:
            yield
        finally:
            for each in hooks:
                each.remove()

    def weights(self) -> dict[str, Tensor]:
        """Return, for each prunable layer, the weights that compute its filters, `(filters, weights)`."""
        weights = {}
        for layer, width in self.widths.items():
            kernels = []
            for path in self.channels.writers[layer]:
                module = self.net.get_submodule(path)
                assert isinstance(module, nn.modules.conv._ConvNd)
                dim = 1 if module.transposed else 0
                start = 0
                for name, length in self.segments(self.channels.places[f"{path}.weight", dim]):
                    if name == layer:
                        own = module.weight.detach().narrow(dim, start, length)
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
            if name not in self.widths:
                raise ModelError(f"layer '{name}': has no dropout; valid layers are {', '.join(self.widths)}")
            self._probabilities[name] = float(probability)
        for each in self._dropout_hooks:
            each.remove()
        self._dropout_hooks = [
            self.net.get_submodule(path).register_forward_pre_hook(partial(self._drop, segments))
            for path, segments in self.channels.readers.items()
            if any(self._probabilities.get(layer or "") for layer, _ in segments)
        ]
        if self._dropout_hooks:
            self._dropout_hooks.append(self.net.register_forward_pre_hook(lambda *_: self._masks.clear()))

    def dropout_probabilities(self) -> dict[str, float]:
        """Return the dropout probability of each prunable layer."""
        return {name: self._probabilities.get(name, 0.0) for name in self.widths}

    def _keep(self, kept: Mapping[str, Sequence[int]], target: Mapping[str, int]) -> list[Cut]:
        cuts = keep_channels(self.net, self.channels, self.widths, kept)
        self.widths = dict(target)
        return cuts

    def _drop(self, segments: Sequence[Segment], reader: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        if not reader.training:
            return None
        x = inputs[0]
        factors = torch.cat([self._mask(segment, x) for segment in self.segments(segments)])
        return (x * factors.movedim(0, 1).reshape(len(x), -1, *[1] * (x.ndim - 2)), *inputs[1:])

    def _mask(self, segment: Segment, x: Tensor) -> Tensor:
        """Return factors `(filters, N)`: 0 for silenced filters, else what keeps the mean."""
        layer, width = segment
        probability = self._probabilities.get(layer or "", 0.0)
        if layer is None or not probability:
            return x.new_ones(width, len(x))
        if layer not in self._masks:
            kept = x.new_empty(width, len(x)).bernoulli_(1 - probability)
            self._masks[layer] = kept / (1 - probability)
        return self._masks[layer]
