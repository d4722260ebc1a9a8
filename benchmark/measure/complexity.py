"""What a network costs, counted and not timed."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from stampbench.models.network import Architecture, build, parameter_count


class Cost(NamedTuple):
    """Trainable parameters; multiply-accumulates and FLOPs (2 × MACs) of one image, batch 1.

    Convolutions and transposed convolutions count, the latter on their input size; normalisation,
    activations and biases do not.
    """

    parameters: int
    macs: int
    flops: int


@lru_cache(maxsize=4096)
def count(architecture: Architecture, size: tuple[int, ...]) -> Cost:
    """Count a network at an input of spatial `size`."""
    with torch.device("meta"):
        model = build(architecture).eval()
        image = torch.empty(1, architecture.in_channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    flops = counter.get_total_flops()
    return Cost(parameter_count(architecture), flops // 2, flops)
