"""Which channels of a network belong together: found by following one forward pass, for networks of any structure.

Every output channel of a convolution gets a label. Operations that treat each channel alone (activations, normalisation
per channel, pooling, interpolation, depthwise convolutions) hand labels on; additions and products of two tensors make
the labels of their operands equal; concatenations join them. A convolution that mixes channels receives labels. What
mixes channels in another way (group normalisation over several channels, attention, flattening) pins them: such
channels are never removed. DepGraph (Fang et al. 2023, §3) describes the same dependencies between layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from stampbench.models.errors import ModelError
from stampbench.models.tracing.channel_labels import ChannelLabels, Place


class Segment(NamedTuple):
    """Consecutive entries of a dimension: all filters of a layer, or `width` entries that stay (layer None)."""

    layer: str | None
    width: int


class NetworkChannels(NamedTuple):
    """Where the filters of every prunable layer are in a network.

    Attributes:
        layers: Filters of each prunable layer by its name, the path of the first convolution that computes it, in the
            order of the forward pass.
        places: The segments of every dimension of a parameter or buffer that changes when filters are removed.
        readers: The segments of the input of every convolution that reads prunable channels, in the order of the
            forward pass.
        writers: For each layer, the paths of the convolutions that compute it; an addition makes them several.
    """

    layers: Mapping[str, int]
    places: Mapping[Place, tuple[Segment, ...]]
    readers: Mapping[str, tuple[Segment, ...]]
    writers: Mapping[str, tuple[str, ...]]


def find_channels(model: nn.Module, image: Tensor) -> NetworkChannels:
    """Follow the channels of `model` through a forward pass in training mode and one in evaluation mode.

    Args:
        model: The network; it may be on PyTorch's device `meta`.
        image: A batch `(N, channels, *spatial)`, on the same device.

    Raises:
        ModelError: when the forward pass fails.
    """
    labels = ChannelLabels(model, image.ndim)
    training = model.training
    for mode in (True, False):
        model.train(mode)
        try:
            with torch.no_grad(), labels:
                outputs = model(image)
        except Exception as error:  # a network of somebody else may fail in any way
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"does not accept images of shape {tuple(image.shape)} ({reason})") from error
        labels.pin(each for output in tree_leaves(outputs) for each in labels.labels(output))
    model.train(training)
    return _Layers(labels).channels()


class _Layers:
    """Groups labels into layers: channels of a convolution that occur in the same places.

    Concatenations and additions keep the order of channels, so those of a layer follow each other everywhere.
    """

    def __init__(self, labels: ChannelLabels) -> None:
        self._labels = labels
        self._places = {place: self._roots(each) for place, each in labels.places.items()}
        self._pinned = {labels.root(each) for each in labels.pinned}
        self._found: dict[str, tuple[int, ...]] = {}

    def channels(self) -> NetworkChannels:
        """Return the layers and where they are."""
        self._find()
        segments = {place: self._segments(roots) for place, roots in self._places.items()}
        readers = {path: self._segments(self._roots(labels)) for path, labels in self._labels.read.items()}
        writers = {
            name: tuple(path for path, labels in self._labels.written.items() if roots[0] in self._roots(labels))
            for name, roots in self._found.items()
        }
        return NetworkChannels(
            {name: len(roots) for name, roots in self._found.items()},
            {place: each for place, each in segments.items() if any(part.layer for part in each)},
            {path: each for path, each in readers.items() if any(part.layer for part in each)},
            writers,
        )

    def _roots(self, labels: Iterable[int]) -> tuple[int, ...]:
        return tuple(self._labels.root(each) for each in labels)

    def _find(self) -> None:
        occurs: dict[int, set[Place]] = {}
        for place, roots in self._places.items():
            for root in roots:
                occurs.setdefault(root, set()).add(place)
        read = {root for labels in self._labels.read.values() for root in self._roots(labels)}
        self._pinned |= occurs.keys() - read
        for path, labels in self._labels.written.items():
            by_places: dict[frozenset[Place], dict[int, None]] = {}
            known = {root for roots in self._found.values() for root in roots}
            for root in self._roots(labels):
                if root not in self._pinned and root not in known:
                    by_places.setdefault(frozenset(occurs[root]), {})[root] = None
            for number, together in enumerate(by_places.values(), start=1):
                self._found[path if number == 1 else f"{path}#{number}"] = tuple(together)

    def _segments(self, roots: Sequence[int]) -> tuple[Segment, ...]:
        starts = {each[0]: name for name, each in self._found.items()}
        segments: list[Segment] = []
        position = 0
        while position < len(roots):
            name = starts.get(roots[position])
            width = 1 if name is None else len(self._found[name])
            if name is None and segments and segments[-1].layer is None:
                segments[-1] = Segment(None, segments[-1].width + 1)
            else:
                segments.append(Segment(name, width))
            position += width
        return tuple(segments)
