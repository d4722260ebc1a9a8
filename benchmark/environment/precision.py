"""Precisions of convolutions (fp32, bf16, fp16, int8), and which devices support them."""

from __future__ import annotations

from typing import Literal

import torch

from stampbench.benchmark.errors import UserError

Precision = Literal["fp32", "bf16", "fp16", "int8"]
HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""The type to which convolutions are autocast; fp32 is not autocast, and int8 needs a file for an inference runtime."""


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device supports a precision.

    Raises:
        UserError: when fp16 is requested on a CPU.
    """
    if precision == "fp16" and device.type == "cpu":
        raise UserError("precision 'fp16' needs a GPU; fp32 and bf16 run on the CPU", setting="precision")
