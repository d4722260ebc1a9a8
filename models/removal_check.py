"""Check that removing filters from a network is the same as letting later convolutions read zeros of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from stampbench.models.architecture import Filter
from stampbench.models.errors import ModelError
from stampbench.models.pruning import remove_filters
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture

_TOLERANCE = 1e-6
"""Largest accepted difference of logits in double precision, relative to the largest of them."""


def check_removal(architecture: TracedArchitecture) -> None:
    """Remove a third of the filters of every layer of an untrained network, with random weights, and compare logits.

    Raises:
        ModelError: when the logits differ, because the module depends on its number of channels in a way that cannot be
            seen from PyTorch's functions; the message names the layer.
    """
    rng = random.Random(0)
    chosen = {
        layer: [Filter(layer, each) for each in rng.sample(range(width), width // 3 or (width > 1))]
        for layer, width in architecture.layers.items()
    }
    model = _random_model(architecture)
    if not _differs(model, [each for filters in chosen.values() for each in filters]):
        return
    wrong = [layer for layer, filters in chosen.items() if _differs(model, filters)] or list(chosen)
    raise ModelError(
        f"network '{architecture.name}': without filters of layer '{wrong[0]}' it does not compute what it computes "
        "when these are silent; make the module independent of its numbers of channels"
    )


def silence(model: TracedModel, filters: Iterable[Filter]) -> None:
    """Let all convolutions read zeros of filters, by zeros in their weights."""
    silent: dict[str, list[int]] = {}
    for layer, channel, *_ in filters:
        silent.setdefault(layer, []).append(channel)
    for path, segments in model.architecture.channels.readers.items():
        module, start = model.net.get_submodule(path), 0
        assert isinstance(module, nn.modules.conv._ConvNd)
        for name, width in model.filters.segments(segments):
            for channel in silent.get(name or "", []):
                module.weight.data.select(0 if module.transposed else 1, start + channel).zero_()
            start += width


def _random_model(architecture: TracedArchitecture) -> TracedModel:
    """Return the network in double precision with random values in all tensors, so that every wrong slice shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TracedModel(architecture)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                # Not larger in deep networks: sums of many filters would hide a small difference.
                spread = value[0].numel() ** -0.5 if value.ndim > 1 else 1.0
                nn.init.uniform_(value, 0.5, 2) if name.endswith("running_var") else nn.init.normal_(value, std=spread)
    return model.double().eval()


def _differs(model: TracedModel, filters: list[Filter]) -> bool:
    pruned, silent = copy.deepcopy(model), copy.deepcopy(model)
    silence(silent, filters)
    image = _accepted(silent)
    try:
        remove_filters(pruned, filters)
        with torch.no_grad():
            found, expected = pruned(image), silent(image)
        return bool((found - expected).abs().max() > _TOLERANCE * expected.abs().max())
    except (RuntimeError, ValueError):  # shapes do not fit any more
        return True


def _accepted(model: TracedModel) -> Tensor:
    """Return a small image that the network accepts; one that pads accepts any size in name, but not the smallest."""
    architecture = model.architecture
    generator = torch.Generator().manual_seed(0)
    for factor in (2, 4, 16, 64):
        sizes = [factor * each for each in architecture.divisors]
        image = torch.randn(1, architecture.in_channels, *sizes, generator=generator, dtype=torch.double)
        try:
            with torch.no_grad():
                model(image)
            break
        except (RuntimeError, ValueError):
            continue
    return image
