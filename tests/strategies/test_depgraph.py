"""Our surgery and scores against Torch-Pruning's."""

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
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs

tp: Any = pytest.importorskip("torch_pruning")


def network(dims: int) -> UNet:
    torch.manual_seed(1)
    model = UNet(UNetArchitecture.doubling(dims, 1, 2, f=3, depth=2, prune_upconvs=True))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for value in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(value)
    return model.eval()


def root(model: UNet, layer: str) -> nn.Module:
    return model.layer(layer).conv if layer.startswith("conv") else model.upconv(int(layer[2:]) - 1)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_removals_keep_the_same_weights_and_outputs(dims: int) -> None:
    ours = network(dims)
    theirs, rng = copy.deepcopy(ours), random.Random(dims)
    image = torch.randn(2, 1, *(8,) * dims)
    for _ in range(30):
        open_layers = [layer for layer, width in ours.architecture.layers.items() if width > 1]
        layer = rng.choice(open_layers)
        channel = rng.randrange(ours.architecture.layers[layer])
        remove_filters(ours, [Filter(layer, channel)])
        graph = tp.DependencyGraph().build_dependency(theirs, example_inputs=image)
        module = root(theirs, layer)
        graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, idxs=[channel]).prune()
        for (name, mine), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
            assert torch.equal(mine, other), (layer, channel, name)
    assert min(ours.architecture.layers.values()) < 3
    # the layers are ours; only the tensors were cut by the other library
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image))


def test_group_importance_is_the_library_s_norm_over_all_that_goes_with_a_filter() -> None:
    """For conv1: its kernel, its BatchNorm scale and the next kernel's input slice, squared and averaged."""
    model = network(2)
    images = torch.randn(1, 1, 8, 8)
    scores = IMPORTANCES["group_l2"].score(
        ImportanceInputs(model, [(images, images[:, 0])], nn.functional.mse_loss, np.random.default_rng(0))
    )
    first, second = model.layer("conv1"), model.layer("conv2")
    parts = [
        first.conv.weight.flatten(1).square().sum(1),
        first.norm.weight.square(),
        second.conv.weight.transpose(0, 1).flatten(1).square().sum(1),
    ]
    assert scores["conv1"] == pytest.approx(torch.stack(parts).mean(0).tolist(), rel=1e-5)
