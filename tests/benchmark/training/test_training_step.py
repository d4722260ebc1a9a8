"""Training steps do not wait for a GPU: they read no number of a tensor, which a CUDA graph could not hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.training.losses import (
    deep_supervision_loss,
    deterministic_cross_entropy,
    distillation_loss,
    make_loss,
)
from stampbench.benchmark.training.training_step import TrainingStep
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import without_memory
from stampbench.models.networks.monai import DynUNet
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.pooling import deterministic_max_pool, deterministic_mean_pool
from stampbench.models.registry import NETWORKS
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.strategies.regularisers import REGULARISERS

CLASSES = 3


def train_without_memory(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], *size: int) -> None:
    """Make a step on PyTorch's device `meta`, whose tensors have no numbers that could be read."""
    model.train()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    step = TrainingStep(sgd, lambda pixels, labels: loss(model(pixels), labels), gradient_norm=1.0)
    pixels, labels = torch.empty(2, 1, *size, device="meta"), torch.empty(2, *size, device="meta", dtype=torch.uint8)
    assert step(pixels, labels).device.type == "meta"


def of_labels(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    loss = make_loss(name)
    return lambda logits, labels: loss(logits.float(), labels.long().unsqueeze(1))


@pytest.mark.parametrize(("name", "dims"), [("dice", 2), ("dice_ce", 3), ("dice_ce_foreground", 2), ("dice_l2", 3)])
def test_losses_on_a_unet_with_dropout(name: str, dims: int) -> None:
    model = without_memory(UNetArchitecture.doubling(dims, 1, CLASSES, f=2, depth=2))
    model.set_dropout({"conv1": 0.2})
    train_without_memory(model, of_labels(name), *[8] * dims)


@pytest.mark.parametrize("construction", ["table1", "lits2021"])
def test_pocketnets(construction: str) -> None:
    architecture = PocketNetArchitecture(
        spatial_dims=3, in_channels=1, out_channels=CLASSES, depth=2, f=2, construction=construction  # type: ignore[arg-type]
    )  # fmt: skip
    train_without_memory(without_memory(architecture), of_labels("dice_ce"), 8, 8, 4)


@pytest.mark.parametrize("name", NETWORKS)
def test_registered_networks(name: str) -> None:
    network = NETWORKS[name].load()().planned((64, 64), (1.0, 1.0))

    def loss(logits: Tensor | list[Tensor], labels: Tensor) -> Tensor:
        heads = [logits] if isinstance(logits, Tensor) else list(logits)
        return deep_supervision_loss(of_labels("dice_ce"), heads, labels)

    with torch.device("meta"):
        model = network.build(2, 1, CLASSES)
    train_without_memory(model, loss, 64, 64)


def test_dropout_and_regularisers_of_traced_networks() -> None:
    model = without_memory(TracedArchitecture.unpruned("dynunet", DynUNet(f=2, depth=2), 2, 1, CLASSES))
    assert isinstance(model, TracedModel)
    model.set_dropout(dict.fromkeys(model.dropout_probabilities(), 0.2))
    terms: list[Tensor] = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        total = of_labels("dice_ce")(logits, labels) + torch.stack(terms).mean()
        terms.clear()
        return total

    with model.watched(lambda _, output: terms.append(REGULARISERS["channel_distance"](output))):
        train_without_memory(model, loss, 16, 16)


def test_distillation_and_deterministic_forms() -> None:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        pooled = deterministic_max_pool(logits, (2, 2)).mean() + deterministic_mean_pool(logits, (2, 2)).mean()
        return pooled + deterministic_cross_entropy(logits, labels) + distillation_loss(logits, logits.detach(), 2.0)

    train_without_memory(without_memory(UNetArchitecture.doubling(2, 1, CLASSES, f=2, depth=1)), loss, 8, 8)


def test_a_number_that_is_read_is_found() -> None:
    model = without_memory(UNetArchitecture.doubling(2, 1, CLASSES, f=2, depth=1))
    with pytest.raises(RuntimeError, match="meta"):
        train_without_memory(model, lambda logits, labels: logits.mean() * float(logits.detach().mean()), 8, 8)
