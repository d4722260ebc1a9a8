"""Importance scores: one number per filter (Dinsdale et al. 2022, §2.1 and supplement)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stampbench.models.cpu_kernels import channel_products, channel_sums, channels_last, uses_fast_kernels
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.unet import UNet
from stampbench.strategies.channel_distance import relative_distances
from stampbench.strategies.errors import StrategyError

ImportanceName = Literal[
    "l2",
    "l2_gathered",
    "l1",
    "l1_std",
    "taylor",
    "weight_l2",
    "group_l2",
    "group_l2_layerwise",
    "random",
    "channel_distance",
]
"""Names in `IMPORTANCES`."""

Scores = dict[str, list[float]]
"""For each prunable layer, the scores of its filters."""


class ImportanceInputs(NamedTuple):
    """Inputs of an importance score; all tensors are on the model's device.

    Attributes:
        model: The network whose filters are scored.
        batches: Training images `(n, channels, *spatial)` with labels `(n, *spatial)`.
        loss: Loss function of logits and labels.
        rng: Random generator for random scores.
        gathered: Mean L2 norms of the last training epoch, or None if that epoch did not gather them.
    """

    model: UNet | TracedModel
    batches: Iterable[tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    rng: np.random.Generator
    gathered: Scores | None = None


class Importance(NamedTuple):
    """An importance score and how a ranking uses it.

    Attributes:
        score: Function that computes the scores.
        passes: Whether it makes a pass over the training images, which is charged to the run.
        normalised: Whether the scores are divided by the layer's L2 norm (eq. 3).
    """

    score: Callable[[ImportanceInputs], Scores]
    passes: bool = True
    normalised: bool = True


def _per_image_norms(inputs: ImportanceInputs, order: int) -> dict[str, Tensor]:
    """Return the Lp norm of each filter's ReLU output for each image, `(images, filters)` per layer (eq. 1).

    The network is in evaluation mode (running statistics, no dropout), and gradients are disabled.
    """
    norms: dict[str, list[Tensor]] = {}

    def add(name: str, output: Tensor) -> None:
        if uses_fast_kernels(inputs.model.kernels, output):
            output = channels_last(output)
            sums = channel_products(output, output).sqrt() if order == 2 else channel_sums(output.abs())
        else:
            sums = torch.linalg.vector_norm(output.flatten(2), ord=order, dim=2)
        norms.setdefault(name, []).append(sums)

    with _evaluating(inputs.model), inputs.model.watched(add), torch.inference_mode():
        for images, _ in inputs.batches:
            inputs.model.infer_layers(images)
    # Convert to double precision on the CPU, because not every device supports it.
    return {name: torch.cat(norms[name]).cpu().double() for name in inputs.model.architecture.layers}


def _mean_norm(inputs: ImportanceInputs, order: int) -> Scores:
    """Return the Lp norms averaged over all training images, each with the same weight (eq. 2)."""
    return {name: norms.mean(0).tolist() for name, norms in _per_image_norms(inputs, order).items()}


def _gathered(inputs: ImportanceInputs) -> Scores:
    """Return the mean L2 norms gathered in the last training epoch, without a pass over the training images.

    This is not the paper's ranking: each image is measured with the weights at its training step, with batch
    statistics and with dropout.

    Raises:
        StrategyError: when that epoch did not gather norms, or the network has changed since.
    """
    if inputs.gathered is None:
        raise StrategyError(
            "importance 'l2_gathered': the last training epoch gathered no norms; "
            "call train(epochs, gather=True) directly before score"
        )
    return inputs.gathered


@contextmanager
def gather_norms(model: UNet) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the L2 norms of ReLU outputs while `model` trains.

    Yields:
        For each layer, a list that receives one tensor `(images, filters)` for every training batch.
    """
    units = {name: model.layer(name) for name in model.architecture.layers if name.startswith("conv")}
    norms: dict[str, list[Tensor]] = {name: [] for name in units}

    def add(name: str, squares: Tensor) -> None:
        norms[name].append(squares.sqrt())

    for name, unit in units.items():
        unit.see_squares = partial(add, name)
    try:
        yield norms
    finally:
        for unit in units.values():
            unit.see_squares = None


def _l1_std(inputs: ImportanceInputs) -> Scores:
    """Return the standard deviation of the L1 norm over images.

    A filter whose response is the same for every image carries little information. STAMP's code takes the standard
    deviation within each batch and sums over batches, so it depends on how images are batched; this one does not.
    """
    return {name: norms.std(0, correction=0).tolist() for name, norms in _per_image_norms(inputs, 1).items()}


def _taylor(inputs: ImportanceInputs) -> Scores:
    """Return |Σ over batches of mean(activation · gradient of the loss)|, as in STAMP's code.

    The absolute value is taken after the sum, so images on which a filter lowers the loss and images on which
    it raises the loss cancel out.
    """
    activations: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}

    def add(name: str, output: Tensor) -> None:
        output.retain_grad()
        activations[name] = output

    with _evaluating(inputs.model), inputs.model.watched(add), torch.enable_grad():
        for images, labels in inputs.batches:
            inputs.model.zero_grad(set_to_none=True)
            activations.clear()
            inputs.loss(inputs.model(images), labels).backward()  # type: ignore[no-untyped-call]
            for name, output in activations.items():
                assert output.grad is not None
                product = (output.detach() * output.grad).flatten(2).mean((0, 2)).cpu().double()
                sums[name] = sums[name] + product if name in sums else product
    inputs.model.zero_grad(set_to_none=True)
    return {name: sums[name].abs().tolist() for name in inputs.model.architecture.layers}


def _channel_distances(inputs: ImportanceInputs) -> Scores:
    """Return the mean distance over images of each filter's output to that of a randomly drawn filter of its layer."""
    layers = inputs.model.architecture.layers
    references = {name: int(inputs.rng.integers(width)) for name, width in layers.items()}
    distances: dict[str, list[Tensor]] = {}

    def add(name: str, output: Tensor) -> None:
        distances.setdefault(name, []).append(relative_distances(output, references[name]))

    with _evaluating(inputs.model), inputs.model.watched(add), torch.inference_mode():
        for images, _ in inputs.batches:
            inputs.model.infer_layers(images)
    return {name: torch.cat(distances[name]).cpu().double().mean(0).tolist() for name in layers}


def _weight_norm(inputs: ImportanceInputs) -> Scores:
    """Return the L2 norm of each filter's kernel (Li et al. 2017 use the L1 norm)."""
    weights = inputs.model.filter_weights()
    return {name: each.cpu().double().norm(dim=1).tolist() for name, each in weights.items()}


def _random(inputs: ImportanceInputs) -> Scores:
    """Return random scores, uniform over all filters and not over layers, like `Random` in STAMP's code."""
    return {name: inputs.rng.random(width).tolist() for name, width in inputs.model.architecture.layers.items()}


def _group_norm(inputs: ImportanceInputs, normaliser: str | None) -> Scores:
    """Return Torch-Pruning's group L2 norm over all weights removed with a filter (DepGraph, Fang et al. 2023).

    Args:
        inputs: The network to score.
        normaliser: How Torch-Pruning makes the scores of layers comparable: `mean`, its default, divides them by the
            layer's mean; None does not.

    Raises:
        StrategyError: when Torch-Pruning is not installed.
    """
    try:
        import torch_pruning as tp
    except ImportError:
        raise StrategyError(
            "importances 'group_l2' and 'group_l2_layerwise': Torch-Pruning is not installed; run pip install "
            "'stampbench[depgraph]'"
        ) from None
    images, _ = next(iter(inputs.batches))
    # Torch-Pruning can only trace PyTorch's own modules, so this copy uses the plain kernels.
    model = copy.deepcopy(inputs.model).eval()
    model.kernels = "plain"
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=images[:1])
    importance = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer=normaliser)
    scores = {}
    for name, width in model.architecture.layers.items():
        root = model.writers(name)[0]
        prune = graph.get_pruner_of_module(root).prune_out_channels
        group = graph.get_pruning_group(root, prune, idxs=list(range(width)))
        scores[name] = importance(group).double().tolist()
    return scores


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Set the model to evaluation mode for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


IMPORTANCES: dict[str, Importance] = {
    "l2": Importance(partial(_mean_norm, order=2)),
    "l2_gathered": Importance(_gathered, passes=False),
    "l1": Importance(partial(_mean_norm, order=1)),
    "l1_std": Importance(_l1_std),
    "taylor": Importance(_taylor),
    "weight_l2": Importance(_weight_norm, passes=False),
    "group_l2": Importance(partial(_group_norm, normaliser="mean"), passes=False, normalised=False),
    "group_l2_layerwise": Importance(partial(_group_norm, normaliser=None), passes=False),
    "random": Importance(_random, passes=False, normalised=False),
    "channel_distance": Importance(_channel_distances, normalised=False),
}
"""Importance scores by the value of the hyperparameter `importance`."""
