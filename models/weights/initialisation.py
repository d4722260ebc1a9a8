"""Weight initialisation."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def xavier(model: nn.Module) -> None:
    """Set Xavier-uniform weights and zero biases in every convolution (Dinsdale et al. 2022, §2.1).

    The paper does not say whether the distribution is uniform or normal. Glorot and Bengio (2010), whom it
    cites, propose the uniform one.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pytorch_default(model: nn.Module) -> None:
    """Leave the weights as PyTorch initialised them: He-uniform, as in STAMP's code."""


INITIALISATIONS: dict[str, Callable[[nn.Module], None]] = {"xavier": xavier, "default": pytorch_default}
"""Initialisation functions by name; each one changes the weights of a model in place."""
