"""Build a network of any family from its architecture, read architectures, and count parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.cpu_kernels import Kernels
from stampbench.models.errors import ModelError
from stampbench.models.pocketnet import PocketNet, PocketNetArchitecture
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.unet import UNet

__all__ = ["Architecture", "Kernels", "Model", "build", "parameter_count", "parse_architecture", "without_memory"]

Architecture = UNetArchitecture | PocketNetArchitecture | TracedArchitecture
"""An architecture of any network family."""

Model = UNet | PocketNet | TracedModel
"""A module of any network family."""

_PARSER: TypeAdapter[Architecture] = TypeAdapter(Annotated[Architecture, Field(discriminator="family")])


MOST_PARAMETERS = 2**29
"""Larger networks are not built; the weights of one take 2 GB."""


def build(architecture: Architecture, kernels: Kernels = "plain") -> Model:
    """Build the module of an architecture, with PyTorch's default initialisation.

    Raises:
        ModelError: when it has more than `MOST_PARAMETERS` parameters.
    """
    parameter_count(architecture)
    model = _module(architecture)
    model.kernels = kernels
    return model


def without_memory(architecture: Architecture) -> Model:
    """Return the module of an architecture without memory for its weights, on PyTorch's device `meta`."""
    with torch.device("meta"):
        return _module(architecture)


def _module(architecture: Architecture) -> Model:
    if isinstance(architecture, TracedArchitecture):
        return TracedModel(architecture)
    return UNet(architecture) if isinstance(architecture, UNetArchitecture) else PocketNet(architecture)


def parse_architecture(text: str) -> Architecture:
    """Read an architecture from JSON; the key `family` selects its class.

    Raises:
        pydantic.ValidationError: when the text is not valid JSON or not a valid architecture.
    """
    return _PARSER.validate_json(text)


@lru_cache(maxsize=4096)
def parameter_count(architecture: Architecture) -> int:
    """Return the number of trainable parameters, without allocating memory for them.

    Raises:
        ModelError: when there are more than `MOST_PARAMETERS`.
    """
    if isinstance(architecture, UNetArchitecture):
        count = architecture.parameters
    else:
        count = sum(parameter.numel() for parameter in without_memory(architecture).parameters())
    if count > MOST_PARAMETERS:
        raise ModelError(f"the network has {count:,} parameters; at most {MOST_PARAMETERS:,} are supported")
    return count
