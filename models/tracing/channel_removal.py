"""Removal of channels from the module of any network, in all places that depend on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from stampbench.models.cut import Cut, cut
from stampbench.models.tracing.channels import NetworkChannels, Segment


def keep_channels(
    net: nn.Module, channels: NetworkChannels, widths: Mapping[str, int], kept: Mapping[str, Sequence[int]]
) -> list[Cut]:
    """Keep some filters of layers and remove the others, in place.

    Args:
        net: The module.
        channels: Where the filters of its unpruned form are.
        widths: Filters of each layer before the call.
        kept: For each layer that loses filters, the indices of those that stay, in ascending order.

    Returns:
        The replaced parameters in order, with which an optimiser can carry its moments over.
    """
    cuts: list[Cut] = []
    for (path, dim), segments in channels.places.items():
        if kept.keys().isdisjoint(layer for layer, _ in segments):
            continue
        owner, _, name = path.rpartition(".")
        module = net.get_submodule(owner)
        value = getattr(module, name)
        indices = torch.tensor(_indices(segments, widths, kept), device=value.device)
        if isinstance(value, nn.Parameter):
            cuts.append(cut(module, name, dim, indices))
        else:
            setattr(module, name, value.index_select(dim, indices))
        _agree(module)
    return cuts


def _indices(segments: Sequence[Segment], widths: Mapping[str, int], kept: Mapping[str, Sequence[int]]) -> list[int]:
    indices: list[int] = []
    start = 0
    for layer, width in segments:
        now = width if layer is None else widths[layer]
        stay = range(now) if layer is None else kept.get(layer, range(now))
        indices += [start + each for each in stay]
        start += now
    return indices


def _agree(module: nn.Module) -> None:
    """Set the numbers that a module keeps beside its tensors."""
    if isinstance(module, nn.modules.conv._ConvNd):
        first, second = module.weight.shape[:2]
        if module.groups > 1:  # depthwise
            module.groups = module.in_channels = module.out_channels = first
        elif module.transposed:
            module.in_channels, module.out_channels = first, second
        else:
            module.in_channels, module.out_channels = second, first
    elif isinstance(module, nn.GroupNorm):
        module.num_groups = module.num_channels = len(module.weight)
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        module.num_features = len(module.weight if module.weight is not None else module.running_mean)  # type: ignore[arg-type]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
