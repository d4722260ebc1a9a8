"""How much a filter matters: one number per filter (Dinsdale et al. 2022, §2.1 and supplement)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stampbench.models.cpu_kernels import channel_products, channel_sums, channels_last, runs_fast
from stampbench.models.unet import UNet
from stampbench.strategies.errors import StrategyError

ImportanceName = Literal["l2", "l2_gathered", "l1", "l1_std", "taylor", "weight_l2", "group_l2", "random"]

Scores = dict[str, list[float]]
"""Per prunable layer, the score of each of its filters."""


class ImportanceInputs(NamedTuple):
    """What a score may look at, all on the model's device.

    `batches` yields images `(n, channels, *spatial)` and labels `(n, *spatial)`; `loss` takes logits and
    labels; `rng` is the strategy's own. `gathered` are mean L2 norms of the epoch just trained, if it gathered them.
    """

    model: UNet
    batches: Iterable[tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    rng: np.random.Generator
    gathered: Scores | None = None


class Importance(NamedTuple):
    """A score, whether it passes over the training images, and whether layers are normalised (eq. 3)."""

    score: Callable[[ImportanceInputs], Scores]
    passes: bool = True
    normalised: bool = True


def _per_image_norms(evidence: ImportanceInputs, order: int) -> dict[str, Tensor]:
    """Lp norms of each filter's ReLU output over each image, `(images, filters)` per layer (eq. 1).

    In evaluation mode (running statistics, no dropout) and without gradients.
    """
    norms: dict[str, list[Tensor]] = {}

    def add(name: str, output: Tensor) -> None:
        if runs_fast(evidence.model.kernels, output):
            output = channels_last(output)
            sums = channel_products(output, output).sqrt() if order == 2 else channel_sums(output.abs())
        else:
            sums = torch.linalg.vector_norm(output.flatten(2), ord=order, dim=2)
        norms.setdefault(name, []).append(sums)

    with _watched(evidence.model, add), torch.inference_mode():
        for images, _ in evidence.batches:
            # Nothing behind the last ranked layer has to be computed.
            evidence.model.features(images, units=len(evidence.model.units) - 1)
    # Doubled on the CPU: not every device has double precision.
    return {name: torch.cat(norms[name]).cpu().double() for name in evidence.model.architecture.layers}


def _mean_norm(evidence: ImportanceInputs, order: int) -> Scores:
    """Averaged over all training images, each of which counts once (eq. 2)."""
    return {name: norms.mean(0).tolist() for name, norms in _per_image_norms(evidence, order).items()}


def _gathered(evidence: ImportanceInputs) -> Scores:
    """The L2 norms of the last training epoch: no pass, but not the paper's ranking.

    Each image counts as the network was at its step, with batch statistics and dropout.

    Raises:
        StrategyError: that epoch did not gather them, or the network has changed since.
    """
    if evidence.gathered is None:
        raise StrategyError("importance 'l2_gathered' needs the epoch before to gather norms, and it did not")
    return evidence.gathered


@contextmanager
def gather_norms(model: UNet) -> Iterator[dict[str, list[Tensor]]]:
    """While it trains, collect per layer the L2 norms of its ReLU outputs, `(images, filters)` for every batch."""
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


def _l1_spread(evidence: ImportanceInputs) -> Scores:
    """Standard deviation over images of the L1 norm: a filter that answers to every image alike tells little."""
    return {name: norms.std(0, correction=0).tolist() for name, norms in _per_image_norms(evidence, 1).items()}


def _taylor(evidence: ImportanceInputs) -> Scores:
    """|Σ over batches of mean(activation · gradient of the loss)|, as in STAMP's code.

    The absolute value comes after the sum, so images on which a filter helps and harms cancel out.
    """
    activations: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}

    def add(name: str, output: Tensor) -> None:
        output.retain_grad()
        activations[name] = output

    with _watched(evidence.model, add), torch.enable_grad():
        for images, labels in evidence.batches:
            evidence.model.zero_grad(set_to_none=True)
            activations.clear()
            evidence.loss(evidence.model(images), labels).backward()  # type: ignore[no-untyped-call]
            for name, output in activations.items():
                assert output.grad is not None
                product = (output.detach() * output.grad).flatten(2).mean((0, 2)).cpu().double()
                sums[name] = sums[name] + product if name in sums else product
    evidence.model.zero_grad(set_to_none=True)
    return {name: sums[name].abs().tolist() for name in evidence.model.architecture.layers}


def _weight_norm(evidence: ImportanceInputs) -> Scores:
    """L2 norm of a filter's kernel (Li et al. 2017 use L1)."""
    model, scores = evidence.model, {}
    for name in model.architecture.layers:
        if name.startswith("conv"):
            weight = model.layer(name).conv.weight
        else:
            weight = model.upconv(_step(name)).weight.transpose(0, 1)
        scores[name] = weight.detach().flatten(1).cpu().double().norm(dim=1).tolist()
    return scores


def _random(evidence: ImportanceInputs) -> Scores:
    """Uniform over all filters, not over layers; as STAMP's `Random`."""
    return {name: evidence.rng.random(width).tolist() for name, width in evidence.model.architecture.layers.items()}


def _group_norm(evidence: ImportanceInputs) -> Scores:
    """Torch-Pruning's group L2 norm: the weights of all that goes with a filter (DepGraph, Fang et al. 2023).

    Raises:
        StrategyError: the extra is not installed.
    """
    try:
        import torch_pruning as tp
    except ImportError:
        raise StrategyError("importance 'group_l2' needs Torch-Pruning: pip install 'stampbench[depgraph]'") from None
    images, _ = next(iter(evidence.batches))
    # Torch-Pruning traces PyTorch's own modules.
    model = UNet(evidence.model.architecture).to(images.device)
    model.load_state_dict(evidence.model.state_dict())
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=images[:1])
    importance = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean", normalizer=None)
    scores = {}
    for name, width in model.architecture.layers.items():
        root: nn.Module = model.layer(name).conv if name.startswith("conv") else model.upconv(_step(name))
        prune = graph.get_pruner_of_module(root).prune_out_channels
        group = graph.get_pruning_group(root, prune, idxs=list(range(width)))
        scores[name] = importance(group).double().tolist()
    return scores


@contextmanager
def _watched(model: UNet, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """In evaluation mode, `see` every ranked activation; the mode is put back at the end."""

    def hook(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        see(name, output)

    hooks = [module.register_forward_hook(partial(hook, name)) for name, module in model.activations().items()]
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
        for each in hooks:
            each.remove()


def _step(name: str) -> int:
    return int(name.removeprefix("up")) - 1


IMPORTANCES: dict[str, Importance] = {
    "l2": Importance(partial(_mean_norm, order=2)),
    "l2_gathered": Importance(_gathered, passes=False),
    "l1": Importance(partial(_mean_norm, order=1)),
    "l1_std": Importance(_l1_spread),
    "taylor": Importance(_taylor),
    "weight_l2": Importance(_weight_norm, passes=False),
    "group_l2": Importance(_group_norm, passes=False),
    "random": Importance(_random, passes=False, normalised=False),
}
"""By the name that a strategy's `importance` takes."""
