"""One epoch of training steps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from stampbench.benchmark.training.fold_data import Images
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.benchmark.training.training_step import TrainingStep
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build


def test_loss_scaling_gives_the_same_steps() -> None:
    """Scaling by powers of two is exact in single precision, so that the scaler can be tested without a GPU."""
    torch.manual_seed(0)
    images = Images(torch.randn(6, 1, 16, 16), torch.randint(2, (6, 16, 16), dtype=torch.uint8), torch.arange(6))
    pairs = [(batch.pixels, batch.labels) for batch in images.batches(4)]
    first = build(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1)).train()
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu")):
        model = copy.deepcopy(first)
        optimiser = torch.optim.Adam(model.parameters())

        def batch_loss(x: Tensor, y: Tensor, model: nn.Module = model) -> Tensor:
            return nn.functional.cross_entropy(model(x), y.long())

        losses = [train_epoch(TrainingStep(optimiser, batch_loss, scaler), pairs) for _ in range(3)]
        weights.append([*model.parameters(), torch.tensor(losses)])
    for plain, scaled in zip(*weights, strict=True):
        torch.testing.assert_close(plain, scaled, rtol=1e-5, atol=1e-6)


def test_gradients_are_clipped_to_a_norm() -> None:
    """A step of SGD with learning rate 1 moves the weights by the gradients, which have norm √5 without the limit."""
    for most, moved in ((None, 5**0.5), (0.5, 0.5), (100.0, 5**0.5)):
        for scaler in (None, torch.amp.GradScaler("cpu")):
            weight = nn.Parameter(torch.zeros(2))
            direction = torch.tensor([1.0, 2.0])

            def loss(x: Tensor, y: Tensor, weight: Tensor = weight, direction: Tensor = direction) -> Tensor:
                return (weight * direction).sum()

            step = TrainingStep(torch.optim.SGD([weight], lr=1.0), loss, scaler, most)
            train_epoch(step, [(torch.zeros(1), torch.zeros(1))])
            torch.testing.assert_close(weight.detach().norm(), torch.tensor(moved), rtol=1e-4, atol=0)
