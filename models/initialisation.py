"""How weights begin."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def xavier(model: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every convolution (Dinsdale et al. 2022, §2.1).

    The paper does not say uniform or normal; Glorot and Bengio (2010), which it cites, propose the uniform.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pytorch_default(model: nn.Module) -> None:
    """Keep what the modules were built with: He-uniform weights, as in STAMP's code."""


INITIALISATIONS: dict[str, Callable[[nn.Module], None]] = {"xavier": xavier, "default": pytorch_default}
