"""Any network from any architecture."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.cpu_kernels import Kernels
from stampbench.models.pocketnet import PocketNet, PocketNetArchitecture
from stampbench.models.unet import UNet

__all__ = ["Architecture", "Kernels", "Network", "build", "parameter_count", "parse_architecture"]

Architecture = UNetArchitecture | PocketNetArchitecture
Network = UNet | PocketNet

_PARSER: TypeAdapter[Architecture] = TypeAdapter(Annotated[Architecture, Field(discriminator="family")])


def build(architecture: Architecture, kernels: Kernels = "plain") -> Network:
    """The module of an architecture, with PyTorch's default initialisation."""
    model = UNet(architecture) if isinstance(architecture, UNetArchitecture) else PocketNet(architecture)
    model.kernels = kernels
    return model


def parse_architecture(text: str) -> Architecture:
    """Read an architecture from JSON.

    Raises:
        pydantic.ValidationError: it is malformed.
    """
    return _PARSER.validate_json(text)


@lru_cache(maxsize=4096)
def parameter_count(architecture: Architecture) -> int:
    """Trainable parameters, without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(architecture).parameters())
