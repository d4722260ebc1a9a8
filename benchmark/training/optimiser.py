"""Adam, what follows a plateau, and what a prune does to both."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from stampbench.benchmark.config.protocol import Protocol
from stampbench.models.pruning import Cut


def new_optimiser(
    model: nn.Module, protocol: Protocol, *, fused: bool
) -> tuple[torch.optim.Optimizer, ReduceLROnPlateau | None]:
    """A fresh Adam and, where the protocol has one, its plateau schedule; `fused` steps in one kernel."""
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
    """Give `new` the state of `old`, with the entries of removed filters cut out."""
    states = dict(old.state)
    for cut in cuts:
        if state := states.pop(cut.old, None):
            states[cut.new] = {
                name: value.index_select(cut.dim, cut.kept) if value.ndim else value for name, value in state.items()
            }
    for parameter in model.parameters():
        if parameter in states:
            new.state[parameter] = states[parameter]
