"""Strategies and networks with their hyperparameters, resolved from a user's names and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:  # they import torch
    from stampbench.benchmark.config.weights import ResolvedWeights
    from stampbench.models.model import Architecture
    from stampbench.models.network import Network
    from stampbench.strategies.base import Strategy


class ResolvedNetwork(NamedTuple):
    """A network that is ready to be built.

    Attributes:
        name: its registered name.
        network: the network with its hyperparameters.
        defaults: the hyperparameters that it would have if the user had set none.
        code: version of a plug-in's code; None: the network is built in.
        size: filters on the first level of the U-Net whose parameters it should have; None: as `network` says.
    """

    name: str
    network: Network
    defaults: dict[str, Any]
    code: str | None = None
    size: int | None = None

    def planned(self, size: Sequence[int], spacing: Sequence[float] | None) -> ResolvedNetwork:
        """Return the network for images of a size and spacing (None: unknown); what it plans counts as a default.

        Raises:
            ModelError: when the network does not fit.
        """
        cls = type(self.network)
        if not (fields := set(cls.planned_fields)):
            return self
        where = (tuple(size), tuple(spacing or (1.0,) * len(size)))
        bare = cls.model_validate(self.network.model_dump(exclude=fields))
        plan = bare.planned(*where).model_dump(mode="json", include=fields)
        return self._replace(network=self.network.planned(*where), defaults=self.defaults | plan)


class ResolvedStrategy(NamedTuple):
    """A strategy that is ready to run.

    Attributes:
        name: its registered name.
        strategy: the strategy with its hyperparameters.
        defaults: the hyperparameters that it would have if the user had set none.
        code: version of a plug-in's code; None: the strategy is built in.
        network: the network that it starts from; None: the strategy builds its own, the U-Net or PocketNet's.
        weights: trained weights that it starts from; None: it trains or initialises its own.
    """

    name: str
    strategy: Strategy
    defaults: dict[str, Any]
    code: str | None = None
    network: ResolvedNetwork | None = None
    weights: ResolvedWeights | None = None

    def on(self, network: ResolvedNetwork | None) -> ResolvedStrategy:
        """Return the same strategy on a network; None: on its own.

        Raises:
            UserError: when the strategy does not run on other networks than its own.
        """
        if network is not None and (fixed := self.strategy.fixed_network()):
            raise UserError(
                f"strategy '{self.name}': cannot start from network '{network.name}', because {fixed}",
                setting="network",
            )
        return self._replace(network=network)

    def sized(self, spatial_dims: int, in_channels: int, out_channels: int) -> ResolvedStrategy:
        """Return the same strategy on a network of the size that the user set, if any.

        Args:
            spatial_dims: 2 or 3.
            in_channels: channels of the input image.
            out_channels: output channels, one per class including the background.

        Raises:
            ModelError: when the network cannot be built in these dims, or has no such size.
        """
        if self.network is None or self.network.size is None:
            return self
        from stampbench.models.network_size import of_size  # it imports torch

        name, network, _, _, size = self.network
        found = of_size(name, network, size, spatial_dims, in_channels, out_channels)
        return self._replace(network=self.network._replace(network=found, size=None))

    def starting_from(self, weights: ResolvedWeights | None) -> ResolvedStrategy:
        """Return the same strategy with trained weights; None: without.

        Raises:
            UserError: when the strategy does not start from a trained network.
        """
        if weights is not None and self.strategy.trained_parent() is None:
            remedy = "set pretrained=true" if "pretrained" in self.defaults else "choose 'prune_finetune'"
            raise UserError(
                f"strategy '{self.name}': does not start from a trained network, so that it cannot use the weights "
                f"{weights.path}; {remedy}",
                setting="weights",
            )
        return self._replace(weights=weights)

    def architecture(self, spatial_dims: int, in_channels: int, out_channels: int) -> Architecture:
        """Return the architecture that training starts from.

        Args:
            spatial_dims: 2 or 3.
            in_channels: channels of the input image.
            out_channels: output channels, one per class including the background.

        Raises:
            ModelError: when the network cannot be built in these dims.
        """
        from stampbench.models.tracing.traced_architecture import TracedArchitecture  # it imports torch

        if self.network is None:
            return self.strategy.start(spatial_dims, in_channels, out_channels)
        name, network, *_ = self.network
        return TracedArchitecture.unpruned(name, network, spatial_dims, in_channels, out_channels)
