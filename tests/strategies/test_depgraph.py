"""Tests of pruning and of group importance, with Torch-Pruning as the reference."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, Scores
from stampbench.strategies.ranking import Ranking

tp: Any = pytest.importorskip("torch_pruning")


def network(dims: int) -> UNet:
    """Return a U-Net with prunable transposed convolutions and random BatchNorm values."""
    torch.manual_seed(1)
    model = UNet(UNetArchitecture.doubling(dims, 1, 2, f=3, depth=2, prune_upconvs=True))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for value in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(value)
    return model.eval()


def root(model: UNet, layer: str) -> nn.Module:
    """Return the convolution or transposed convolution of a layer."""
    return model.layer(layer).conv if layer.startswith("conv") else model.upconv(int(layer[2:]) - 1)


@pytest.mark.parametrize("dims", [2, 3])
def test_removals_give_the_same_weights_and_outputs_as_torch_pruning(dims: int) -> None:
    pruned = network(dims)
    reference, rng = copy.deepcopy(pruned), random.Random(dims)
    image = torch.randn(2, 1, *(8,) * dims)
    for _ in range(30):
        open_layers = [layer for layer, width in pruned.architecture.layers.items() if width > 1]
        layer = rng.choice(open_layers)
        channel = rng.randrange(pruned.architecture.layers[layer])
        remove_filters(pruned, [Filter(layer, channel)])
        graph = tp.DependencyGraph().build_dependency(reference, example_inputs=image)
        module = root(reference, layer)
        graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, idxs=[channel]).prune()
        for (name, found), (_, expected) in zip(
            pruned.state_dict().items(), reference.state_dict().items(), strict=True
        ):
            assert torch.equal(found, expected), (layer, channel, name)
    assert min(pruned.architecture.layers.values()) < 3
    # Torch-Pruning only cut the tensors; the forward pass of `reference` is that of stampbench's modules.
    with torch.no_grad():
        torch.testing.assert_close(pruned(image), reference(image))


def scores_of(importance: str, model: UNet, images: torch.Tensor) -> Scores:
    inputs = ImportanceInputs(model, [(images, images[:, 0])], nn.functional.mse_loss, np.random.default_rng(0))
    return IMPORTANCES[importance].score(inputs)


def test_group_importance_is_the_mean_over_all_weights_removed_with_a_filter() -> None:
    """For conv1, these are its kernel, its BatchNorm scale and the input slice of the next kernel, all squared."""
    model = network(2)
    images = torch.randn(1, 1, 8, 8)
    scores = scores_of("group_l2_layerwise", model, images)
    first, second = model.layer("conv1"), model.layer("conv2")
    parts = [
        first.conv.weight.flatten(1).square().sum(1),
        first.norm.weight.square(),
        second.conv.weight.transpose(0, 1).flatten(1).square().sum(1),
    ]
    assert scores["conv1"] == pytest.approx(torch.stack(parts).mean(0).tolist(), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_filters_are_chosen_in_the_order_of_torch_prunings_own_pruner(dims: int) -> None:
    """Torch-Pruning's global pruner with its defaults removes the filters that `depgraph` ranks lowest."""
    model = network(dims)
    images = torch.randn(1, 1, *(8,) * dims)
    importance = IMPORTANCES["group_l2"]
    ranking = Ranking(scores_of("group_l2", model, images), importance.normalised)
    heads = [module for module in model.modules() if getattr(module, "out_channels", 0) == 2]
    reference = copy.deepcopy(model)
    ignored = [dict(reference.named_modules())[name] for name, module in model.named_modules() if module in heads]
    roots = {root(reference, layer): layer for layer in model.architecture.layers}
    ignored += [
        module
        for module in reference.modules()
        if isinstance(module, nn.modules.conv._ConvNd) and module not in roots and module not in ignored
    ]
    pruner = tp.pruner.BasePruner(
        reference, images, tp.importance.GroupMagnitudeImportance(), global_pruning=True, pruning_ratio=0.2,
        ignored_layers=ignored,
    )  # fmt: skip
    removed = {
        (roots[group[0].dep.target.module], index) for group in pruner.step(interactive=True) for index in group[0].idxs
    }
    assert len(removed) > 5
    lowest = ranking.lowest(len(removed))
    assert {(each.layer, each.channel) for each in lowest} == removed
