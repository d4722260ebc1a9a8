"""Whether a network fits the images, the batch size and the strategy of a run, before anything is trained."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.config.resolved import ResolvedStrategy
from stampbench.benchmark.errors import UserError
from stampbench.datasets.dataset import Dataset
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Architecture, without_memory
from stampbench.models.removal_check import check_removal
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def check_fit(
    resolved: ResolvedStrategy, dataset: Dataset, architecture: Architecture, training_images: int, protocol: Protocol
) -> None:
    """Check that a run can start.

    Args:
        resolved: the strategy and its network.
        dataset: the dataset.
        architecture: where the strategy starts.
        training_images: images or patches of an epoch.
        protocol: the protocol.

    Raises:
        UserError: when image sizes do not fit the network, a batch is too small for it, or the strategy prunes and no
            layer can lose filters.
        ModelError: when removing filters from a plug-in network changes more than it should.
    """
    for edge, divisor in zip(dataset.seen, architecture.divisors, strict=True):
        if edge % divisor:
            raise UserError(
                f"{_named(resolved.name, architecture)} needs sizes that are multiples of {divisor}, "
                f"but {dataset.name} has {edge}",
                setting="image_size",
            )
    rest = training_images % protocol.batch_size
    if isinstance(architecture, UNetArchitecture):
        _check_bottleneck(architecture, dataset, training_images, protocol.batch_size)
    elif isinstance(architecture, TracedArchitecture):
        if resolved.strategy.prunes and not architecture.prunable():
            raise UserError(
                f"strategy '{resolved.name}': network '{architecture.name}' has no layer that can lose filters; "
                "strategies such as 'standard' train it",
                setting="network",
            )
        number = rest or min(protocol.batch_size, training_images)
        if reason := _refusal(architecture, (number, architecture.in_channels, *dataset.seen)):
            raise UserError(
                f"network '{architecture.name}': does not train on {number} images of {dataset.name} of size "
                f"{'×'.join(map(str, dataset.seen))} ({reason})",
                setting="batch_size",
            )
        if resolved.network is not None and resolved.network.code is not None:
            _checked(architecture)


@lru_cache(maxsize=64)
def _checked(architecture: TracedArchitecture) -> None:
    check_removal(architecture)


def _named(strategy: str, architecture: Architecture) -> str:
    if isinstance(architecture, TracedArchitecture):
        return f"network '{architecture.name}'"
    return f"strategy '{strategy}': depth {architecture.depth}"


def _check_bottleneck(architecture: UNetArchitecture, dataset: Dataset, training_images: int, batch_size: int) -> None:
    bottleneck = math.prod(edge // each for edge, each in zip(dataset.seen, architecture.divisors, strict=True))
    if bottleneck == 1 and (batch_size == 1 or training_images % batch_size == 1):
        raise UserError(
            f"{dataset.name}: {training_images} training {'patches' if dataset.patch else 'images'} in batches of "
            f"{batch_size} leave a batch with a single one, which depth {architecture.depth} shrinks to one "
            "voxel, too few for BatchNorm; change batch_size or depth",
            setting="batch_size",
        )


@lru_cache(maxsize=64)
def _refusal(architecture: TracedArchitecture, shape: tuple[int, ...]) -> str:
    """Return why a network does not train on a batch, tried without memory for its tensors; empty: it does."""
    try:
        without_memory(architecture).train()(torch.empty(shape, device="meta"))
    except (RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return ""
