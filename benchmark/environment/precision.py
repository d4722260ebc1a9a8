"""Precisions of convolutions (fp32, bf16, fp16, int8), and which devices support them."""

from __future__ import annotations

from typing import Literal

import torch

from stampbench.benchmark.errors import UserError

Precision = Literal["fp32", "bf16", "fp16", "int8"]
HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""The type to which convolutions are autocast; fp32 is not autocast, and int8 needs a file for an inference runtime."""


def tensor_core_layout(precision: str, device: torch.device, spatial_dims: int) -> torch.memory_format | None:
    """Return the layout of weights with which a GPU's tensor cores convolve fastest; None: as they are.

    Args:
        precision: precision of convolutions.
        device: where they are computed.
        spatial_dims: 2 or 3.
    """
    if precision not in HALF or device.type != "cuda":
        return None
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device supports a precision.

    Raises:
        UserError: when fp16 is requested on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision 'fp16' needs a GPU; fp32 and bf16 run on the CPU", setting="precision")
