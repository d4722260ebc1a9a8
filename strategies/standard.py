"""The standard U-Net: trained to convergence, never pruned."""

from __future__ import annotations

from stampbench.strategies.base import Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence


class Standard(Strategy):
    """Train to convergence with the protocol's patience (Dinsdale et al. 2022, §2.5.1, "Standard UNet")."""

    def fit(self, trainer: Trainer) -> None:
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()
