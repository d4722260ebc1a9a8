"""The network that trained weights of nnU-Net come with."""

from __future__ import annotations

from stampbench.benchmark.config.resolved import ResolvedNetwork
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.config.weights import ResolvedWeights
from stampbench.benchmark.errors import UserError
from stampbench.datasets.dataset import Dataset
from stampbench.models.registry import DEFAULT
from stampbench.models.weights.nnunet_checkpoint import nnunet_plan

_REBUILT = "nnunet_reference"
"""Network that nnU-Net's checkpoints are rebuilt as."""


def rebuilt_network(
    network: ResolvedNetwork | None, weights: ResolvedWeights, dataset: Dataset
) -> ResolvedNetwork | None:
    """Return a network with the strides, kernels and filters of nnU-Net's plans; without such plans, as it is.

    Args:
        network: the network that the user has chosen; None: the strategy's own.
        weights: the weights.
        dataset: the dataset.

    Raises:
        UserError: when the weights are those of another network.
        ModelError: when the file cannot be read.
    """
    plan = nnunet_plan(weights.file, dataset.spatial_dims, dataset.pictures)
    if plan is None:
        return network
    if network is None or network.name != _REBUILT:
        name = DEFAULT if network is None else network.name
        raise UserError(
            f"weights {weights.path}: of nnU-Net, whose network is rebuilt as '{_REBUILT}', not as '{name}'",
            setting="network",
        )
    planned = {key: getattr(plan.network, key) for key in ("strides", "kernels", "filters")}
    for key, value in planned.items():
        if (own := getattr(network.network, key)) and own != value:
            raise UserError(
                f"network '{_REBUILT}': {key}={own}, but the weights {weights.path} have {value}; leave it out",
                setting="network",
            )
    usual = type(plan.network).model_validate(network.network.model_dump() | planned | {"filters": ()})
    if usual.widths(dataset.spatial_dims) == planned["filters"]:
        planned["filters"] = ()  # as without weights, so that tables name nothing that is not unusual
    values = network.network.model_dump() | planned
    return network._replace(network=validated(type(network.network), f"network '{_REBUILT}'", values))
