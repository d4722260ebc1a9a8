"""Complexity of a network: parameters, multiply-accumulates and FLOPs."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from stampbench.models.model import Architecture, build, parameter_count


class Complexity(NamedTuple):
    """Trainable parameters, and multiply-accumulates (MACs) and FLOPs (2 × MACs) of one image.

    Convolutions and transposed convolutions are counted, the latter on their input size; normalisation, activations
    and biases are not.
    """

    parameters: int
    macs: int
    flops: int


@lru_cache(maxsize=4096)
def count_complexity(architecture: Architecture, size: tuple[int, ...]) -> Complexity:
    """Count a network at an input of spatial `size`, without allocating tensors."""
    with torch.device("meta"):
        model = build(architecture).eval()
        image = torch.empty(1, architecture.in_channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    flops = counter.get_total_flops()
    return Complexity(parameter_count(architecture), flops // 2, flops)
