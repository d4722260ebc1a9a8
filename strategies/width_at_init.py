"""XTinyU-Net's choice of a width before any training (Kimbowa et al. 2026)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Architecture, Model
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.strategies.base import Strategy, Trainer
from stampbench.strategies.convergence import train_to_convergence
from stampbench.strategies.errors import StrategyError

_FEWEST = 5
"""Fewest candidates among which a jump can be found."""


class WidthAtInit(Strategy):
    """Choose the width by the sensitivity of untrained networks to their input, then train (Kimbowa et al. 2026).

    Candidates are the network with at most c filters in every layer, for c = the widest layer, a half of it, and so on
    to 1. The sensitivity of a candidate is the mean L2 norm, over the training images, of the gradient of the sum of
    all logits with respect to the image. `before_jump` chooses the last candidate before the sensitivities jump. The
    pass over the training images for each candidate is charged to the run.

    The abstract and the authors' code were read, not the paper. It starts from nnU-Net's network with 32 filters on the
    first level and at most 512, takes one centre slice per image and trains as nnU-Net does. Here images are those of
    the dataset, and the protocol initialises the candidates. The network is in evaluation mode, which makes no
    difference to nnU-Net's InstanceNorm; an untrained BatchNorm then changes nothing.
    """

    f: int = Field(32, ge=1, le=1024, description="filters on the first level of the widest candidate")

    def fit(self, trainer: Trainer) -> None:
        """Choose a candidate, train it to convergence and make one checkpoint."""
        candidates = capped(trainer.architecture)
        sensitivities = []
        for candidate in candidates:
            trainer.reset(candidate)
            sensitivities.append(trainer.input_sensitivity())
        trainer.reset(candidates[before_jump(sensitivities)])
        train_to_convergence(trainer, trainer.patience)
        trainer.checkpoint()


def capped(architecture: Architecture) -> list[Architecture]:
    """Return the architecture with ever fewer filters in its widest layers, from all of them to one in every layer.

    Raises:
        StrategyError: when there are fewer than five candidates.
    """
    assert not isinstance(architecture, PocketNetArchitecture)
    widest = max(architecture.layers.values(), default=1)
    caps = [widest // 2**step for step in range(widest.bit_length())]
    if len(caps) < _FEWEST:
        raise StrategyError(
            f"width_at_init: a network whose widest layer has {widest} filters has {len(caps)} candidates, too few to "
            "choose from; start from 16 or more"
        )
    return [_capped(architecture, cap) for cap in caps]


def _capped(architecture: Architecture, cap: int) -> Architecture:
    def at_most(widths: Sequence[int]) -> tuple[int, ...]:
        return tuple(min(cap, width) for width in widths)

    if isinstance(architecture, UNetArchitecture):
        widths = {"convs": at_most(architecture.convs), "upconvs": at_most(architecture.upconvs)}
        return architecture.model_copy(update=widths)
    assert not isinstance(architecture, PocketNetArchitecture)
    return architecture.model_copy(update={"filters": at_most(architecture.filters)})


def before_jump(sensitivities: Sequence[float]) -> int:
    """Return the number of the last candidate before the sensitivities jump (eq. 2 and 3, as in the authors' code).

    Sensitivities are scaled to 0 … 1; d_j is the step from candidate j to the next one. The jump is at the k, from 2
    to n − 3, with the largest difference between the mean step from k − 1 on and the mean of the first k steps; the
    first one counts if several are equal. Only candidates 1 to n − 4 can be chosen.

    Args:
        sensitivities: Sensitivities of at least five candidates, the widest first.

    Raises:
        StrategyError: when one is not finite.
    """
    values = np.asarray(sensitivities, dtype=float)
    if not np.isfinite(values).all():
        raise StrategyError(f"width_at_init: the sensitivities {values.tolist()} are not all finite")
    spread = values.max() - values.min()
    scaled = (values - values.min()) / spread if spread > 0 else np.zeros_like(values)
    steps = np.abs(np.diff(scaled))
    gains = [steps[k - 1 :].mean() - steps[:k].mean() for k in range(2, len(values) - 2)]
    return int(np.argmax(gains)) + 1


def input_sensitivity(model: Model, images: Iterable[Tensor]) -> float:
    """Return the mean over images of ‖∂(Σ logits)/∂image‖₂, in evaluation mode; NaN without images.

    In training mode, the sum of the U-Net's logits, which follow a BatchNorm, does not depend on the image. Norms that
    are not finite are left out.

    Args:
        model: The network.
        images: Batches `(N, channels, *spatial)` on the network's device.
    """
    training = model.training
    model.eval()
    norms: list[float] = []
    for batch in images:
        pixels = batch.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(pixels).sum(), pixels)
        norms += gradient.flatten(1).norm(dim=1).tolist()
    model.train(training)
    return float(np.mean([each for each in norms if np.isfinite(each)] or [np.nan]))
