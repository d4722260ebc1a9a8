"""Optimiser, learning-rate schedule, and their state after pruning."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.training.layout import lay_out_moments
from stampbench.models.cut import Cut, carried


def new_optimiser(
    model: nn.Module, protocol: Protocol, *, fused: bool
) -> tuple[torch.optim.Optimizer, ReduceLROnPlateau | None]:
    """Return a new optimiser and the protocol's plateau schedule, if it has one.

    Args:
        model: the network.
        protocol: optimiser, learning rate and schedule.
        fused: whether the optimiser updates all parameters in one kernel; otherwise as PyTorch chooses.
    """
    settings: dict[str, Any] = {"lr": protocol.learning_rate, "weight_decay": protocol.weight_decay}
    settings["fused"] = fused or None  # False would exclude what PyTorch chooses on a GPU
    optimiser: torch.optim.Optimizer
    if protocol.optimiser == "sgd":
        optimiser = torch.optim.SGD(model.parameters(), momentum=protocol.momentum, nesterov=True, **settings)
    else:
        optimiser = torch.optim.Adam(model.parameters(), **settings)
    if protocol.plateau_factor is None:
        return optimiser, None
    return optimiser, ReduceLROnPlateau(
        optimiser,
        factor=protocol.plateau_factor,
        patience=protocol.plateau_patience,
        min_lr=protocol.plateau_minimum,
    )


def decay_learning_rate(optimiser: torch.optim.Optimizer, protocol: Protocol, epoch: int) -> None:
    """Set the learning rate of an epoch, if the protocol has polynomial decay: lr · (1 − epoch / max_epochs)^power.

    Epochs after the protocol's last one, such as those after pruning, keep the last one's learning rate.

    Args:
        optimiser: the optimiser.
        protocol: learning rate and power.
        epoch: epochs since the network was initialised.
    """
    if protocol.polynomial_power is None:
        return
    left = 1 - min(epoch, protocol.max_epochs - 1) / protocol.max_epochs
    for group in optimiser.param_groups:
        group["lr"] = protocol.learning_rate * left**protocol.polynomial_power


def carry_moments(old: torch.optim.Optimizer, new: torch.optim.Optimizer, model: nn.Module, cuts: list[Cut]) -> None:
    """Copy the moments, of SGD the momentum, from `old` to `new`, without the entries of removed filters.

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
    lay_out_moments(new)
