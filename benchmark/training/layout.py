"""Layout of weights in memory with which a GPU's tensor cores convolve fastest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.precision import HALF


def training_layout(compute: ComputeSettings, precision: str, spatial_dims: int) -> torch.memory_format | None:
    """Return the layout of convolutions' weights: channels-last for fast kernels in bf16 and fp16 on a GPU.

    Args:
        compute: device and kernels.
        precision: precision of convolutions.
        spatial_dims: 2 or 3.

    Returns:
        the layout; None: weights stay as they are.
    """
    if precision not in HALF or compute.kernels != "fast" or compute.torch_device.type != "cuda":
        return None
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


def lay_out_weights(model: nn.Module, layout: torch.memory_format | None) -> None:
    """Lay out the weights of a network's convolutions; PyTorch's convolutions then return this layout, too.

    Other parameters, which may have as many dimensions as images of the other kind, stay as they are.
    """
    if layout is None:
        return
    dims = 4 if layout == torch.channels_last else 5
    for parameter in model.parameters():
        if parameter.ndim == dims:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def lay_out_moments(optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser's moments the layout of their weights, which fused optimisers need."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
