"""Structured pruning: removed filters shrink the tensors (Dinsdale et al. 2022, §2.1 and Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stampbench.models.architecture import Filter
from stampbench.models.cut import Cut, cut
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.unet import UNet


def remove_filters(model: UNet | TracedModel, filters: Iterable[Filter]) -> list[Cut]:
    """Remove filters from `model` in place.

    All channel indices refer to the network before the call, also when one layer loses several filters. The
    pruned network equals the unpruned one with the outputs of these filters, after BatchNorm and dropout,
    forced to zero; in networks other than the U-Net, with what later convolutions read of them forced to zero.

    Returns:
        The replaced parameters in order, with which an optimiser can carry its moments over.

    Raises:
        ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would
            lose all its filters.
    """
    filters = list(filters)
    target = model.architecture.without(filters)
    cuts = _remove_from_unet(model, filters) if isinstance(model, UNet) else model.filters.remove(filters)
    model.architecture = target  # type: ignore[assignment]
    return cuts


def _remove_from_unet(model: UNet, filters: list[Filter]) -> list[Cut]:
    cuts: list[Cut] = []
    for layer, index, *_ in sorted(filters, key=lambda each: (each.layer, -each.channel)):
        if layer.startswith("conv"):
            cuts += _remove_conv(model, int(layer.removeprefix("conv")) - 1, index)
        else:
            cuts += _remove_upconv(model, int(layer.removeprefix("up")) - 1, index)
    return cuts


def _remove_conv(model: UNet, position: int, index: int) -> list[Cut]:
    unit = model.unit(position)
    cuts = [_cut(unit.conv, "weight", 0, index), _cut(unit.conv, "bias", 0, index)]
    cuts += [_cut(unit.norm, name, 0, index) for name in ("weight", "bias")]
    for name in ("running_mean", "running_var"):
        value = getattr(unit.norm, name)
        setattr(unit.norm, name, value.index_select(0, _others(value, 0, index)))
    unit.conv.out_channels = unit.norm.num_features = unit.conv.weight.shape[0]

    depth, per_level = model.architecture.depth, model.architecture.convs_per_level
    level, last = position // per_level, (position + 1) % per_level == 0
    if last and level < depth:
        # In the decoder convolution, the skip's channels follow the upsampled ones, whose number stays the same.
        step = depth - 1 - level
        decoder = model.unit((depth + 1 + step) * per_level)
        cuts.append(_cut_input(decoder.conv, model.upconv(step).out_channels + index))
    if last and level >= depth:
        cuts.append(_cut_input(model.upconv(level - depth), index))
    else:
        cuts.append(_cut_input(model.unit(position + 1).conv, index))
    return cuts


def _remove_upconv(model: UNet, step: int, index: int) -> list[Cut]:
    upconv = model.upconv(step)
    cuts = [_cut(upconv, "weight", 1, index), _cut(upconv, "bias", 0, index)]
    upconv.out_channels = upconv.weight.shape[1]
    decoder = model.unit((model.architecture.depth + 1 + step) * model.architecture.convs_per_level)
    return [*cuts, _cut_input(decoder.conv, index)]


def _cut_input(module: nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d, index: int) -> Cut:
    dim = 0 if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d) else 1
    cut = _cut(module, "weight", dim, index)
    module.in_channels = cut.new.shape[dim]
    return cut


def _cut(module: nn.Module, name: str, dim: int, index: int) -> Cut:
    value = getattr(module, name)
    return cut(module, name, dim, _others(value, dim, index))


def _others(value: Tensor, dim: int, index: int) -> Tensor:
    return torch.tensor([i for i in range(value.shape[dim]) if i != index], device=value.device)
