"""Modules of registered networks, whose filters are found by tracing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from stampbench.models.cpu_kernels import Kernels
from stampbench.models.input_check import check_images
from stampbench.models.tracing.traced_architecture import TracedArchitecture, built
from stampbench.models.tracing.traced_filters import TracedFilters
from stampbench.models.unet import UNet

# PyTorch compares a number that an InstanceNorm without weights does not need.
warnings.filterwarnings("ignore", message="input's size at dim=1 does not match num_features")


class TracedModel(nn.Module):
    """Module of any network; it maps images `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`.

    In training mode, a network with deep supervision returns a list of logits, of which the first has the size of the
    images.

    Attributes:
        architecture: The current architecture; `remove_filters` updates it.
        net: The network's own module.
        filters: Handles on its filters.
        has_fast_kernels: Whether a part of the network is a U-Net; other parts have PyTorch's kernels only.
        save_memory: Not used.
    """

    save_memory: bool = False

    def __init__(self, architecture: TracedArchitecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.net = built(a.name, a.network, a.spatial_dims, a.in_channels, a.out_channels)
        self.net.train(self.training)
        self.filters = TracedFilters(self.net, a.channels)
        self.filters.shrink(a.layers)
        self._aliases = _aliases(super().state_dict(keep_vars=True))
        self._unets = [each for each in self.net.modules() if isinstance(each, UNet)]
        self.has_fast_kernels = bool(self._unets)

    @property
    def kernels(self) -> Kernels:
        """Implementation of the layers of U-Nets in the network."""
        return self._unets[0].kernels if self._unets else "plain"

    @kernels.setter
    def kernels(self, kernels: Kernels) -> None:
        """Choose the implementation; without a U-Net in the network it stays PyTorch's."""
        for each in self._unets:
            each.kernels = kernels

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the logits of images; in training mode with deep supervision a list of them.

        Raises:
            ModelError: when the shape of `x` does not fit the architecture.
        """
        check_images(x, self.architecture.in_channels, self.architecture.divisors)
        output = self.net(x)
        if isinstance(output, Tensor) and output.ndim == x.ndim:
            return output
        heads = list(output.unbind(1)) if isinstance(output, Tensor) else list(output)
        return heads if self.training else heads[0]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return every tensor under one name, also where modules have several."""
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name not in self._aliases}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load what `state_dict` returned."""
        aliases = {alias: state_dict[name] for alias, name in self._aliases.items() if name in state_dict}
        return super().load_state_dict({**state_dict, **aliases}, strict, assign)

    def watched(self, callback: Callable[[str, Tensor], None]) -> AbstractContextManager[None]:
        """Call `callback(layer, signal)` in every forward pass; see `TracedFilters.watched`."""
        return self.filters.watched(callback)

    def infer_layers(self, images: Tensor) -> None:
        """Run the forward pass, for what is watched."""
        self(images)

    def writers(self, layer: str) -> list[nn.Module]:
        """Return the convolutions that compute the filters of a layer."""
        return self.filters.writers(layer)

    def filter_weights(self) -> dict[str, Tensor]:
        """Return, for each prunable layer, the weights that compute its filters, `(filters, weights)`."""
        return self.filters.weights()

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        """Set the channelwise dropout probability of prunable layers.

        Raises:
            ModelError: when a layer is not prunable; only prunable layers have dropout.
        """
        self.filters.set_dropout(probabilities)

    def dropout_probabilities(self) -> dict[str, float]:
        """Return the dropout probability of each prunable layer."""
        return self.filters.dropout_probabilities()


def _aliases(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return, for every further name of a tensor, its first name; removing filters does not change the names."""
    first: dict[int, str] = {}
    return {name: first[id(value)] for name, value in state.items() if first.setdefault(id(value), name) != name}
