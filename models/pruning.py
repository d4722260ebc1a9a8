"""Structured pruning of a U-Net: removed filters shrink the tensors (Dinsdale et al. 2022, §2.1 and Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stampbench.models.architecture import Filter
from stampbench.models.unet import UNet


class Cut(NamedTuple):
    """The replacement of a parameter by a smaller one.

    Attributes:
        old: The parameter before the removal.
        new: The parameter after it.
        dim: The dimension along which an entry was removed.
        kept: Indices of the kept entries along `dim`.
    """

    old: nn.Parameter
    new: nn.Parameter
    dim: int
    kept: Tensor


def remove_filters(model: UNet, filters: Iterable[Filter]) -> list[Cut]:
    """Remove filters from `model` in place.

    All channel indices refer to the network before the call, also when one layer loses several filters. The
    pruned network equals the unpruned one with the outputs of these filters, after BatchNorm and dropout,
    forced to zero.

    Returns:
        The replaced parameters in order, with which an optimiser can carry its moments over.

    Raises:
        ModelError: when a layer is unknown, a filter index is out of range or occurs twice, or a layer would
            lose all its filters.
    """
    filters = list(filters)
    target = model.architecture.without(filters)
    cuts: list[Cut] = []
    for layer, index, *_ in sorted(filters, key=lambda each: (each.layer, -each.channel)):
        if layer.startswith("conv"):
            cuts += _remove_conv(model, int(layer.removeprefix("conv")) - 1, index)
        else:
            cuts += _remove_upconv(model, int(layer.removeprefix("up")) - 1, index)
    model.architecture = target
    return cuts


def _remove_conv(model: UNet, position: int, index: int) -> list[Cut]:
    unit = model.unit(position)
    cuts = [_cut(unit.conv, "weight", 0, index), _cut(unit.conv, "bias", 0, index)]
    cuts += [_cut(unit.norm, name, 0, index) for name in ("weight", "bias")]
    for name in ("running_mean", "running_var"):
        setattr(unit.norm, name, _without(getattr(unit.norm, name), 0, index)[0])
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
    old = getattr(module, name)
    value, kept = _without(old.detach(), dim, index)
    new = nn.Parameter(value, requires_grad=old.requires_grad)
    setattr(module, name, new)
    return Cut(old, new, dim, kept)


def _without(value: Tensor, dim: int, index: int) -> tuple[Tensor, Tensor]:
    kept = torch.tensor([i for i in range(value.shape[dim]) if i != index], device=value.device)
    return value.index_select(dim, kept), kept
