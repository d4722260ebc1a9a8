"""Optimiser, learning-rate schedule, and their state after pruning."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from stampbench.benchmark.config.protocol import Protocol
from stampbench.models.cut import Cut, carried


def new_optimiser(
    model: nn.Module, protocol: Protocol, *, fused: bool
) -> tuple[torch.optim.Optimizer, ReduceLROnPlateau | None]:
    """Return a new Adam and the protocol's plateau schedule, if it has one.

    Args:
        model: the network.
        protocol: learning rate and schedule.
        fused: whether Adam updates all parameters in one kernel.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=protocol.learning_rate, fused=fused)
    if protocol.plateau_factor is None:
        return optimiser, None
    return optimiser, ReduceLROnPlateau(
        optimiser,
        factor=protocol.plateau_factor,
        patience=protocol.plateau_patience,
        min_lr=protocol.plateau_minimum,
    )


def carry_moments(old: torch.optim.Optimizer, new: torch.optim.Optimizer, model: nn.Module, cuts: list[Cut]) -> None:
    """Copy Adam's moments from `old` to `new`, without the entries of removed filters.

    Args:
        old: optimiser of the network before pruning.
        new: optimiser of the pruned network.
        model: the pruned network.
        cuts: which entries of which parameters were kept.
    """
    states = carried(old.state, cuts)
    for parameter in model.parameters():
        if parameter in states:
            new.state[parameter] = states[parameter]
