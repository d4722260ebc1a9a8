"""A network without a filter equals the whole one with that filter silenced."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet

SIZES = {2: (16, 32), 3: (8, 16, 8)}


def network(dims: int, seed: int, *, depth: int = 2, prune_upconvs: bool = False, convs_per_level: int = 2) -> UNet:
    """A U-Net in whose every tensor a wrong slice would show."""
    torch.manual_seed(seed)
    model = UNet(
        UNetArchitecture.doubling(
            dims, 2, 3, f=3, depth=depth, prune_upconvs=prune_upconvs, convs_per_level=convs_per_level
        )
    )
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for value in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(value)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


class Silenced:
    """The unpruned network, with hooks that zero what leaves a removed filter's BatchNorm and dropout."""

    def __init__(self, model: UNet) -> None:
        self.model = model
        self.left = {name: list(range(width)) for name, width in model.architecture.layers.items()}
        self.gone: dict[str, list[int]] = {name: [] for name in self.left}
        for name in self.left:
            module = model.layer(name).dropout if name.startswith("conv") else model.upconvs[int(name[2:]) - 1]
            module.register_forward_hook(lambda _m, _i, output, name=name: self._silence(name, output))

    def _silence(self, name: str, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, self.gone[name]] = 0
        return output

    def remove(self, filters: list[Filter]) -> None:
        for layer, index, *_ in sorted(filters, key=lambda each: -each.channel):
            self.gone[layer].append(self.left[layer].pop(index))


def copy(model: UNet) -> UNet:
    twin = UNet(model.architecture)
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def draw(rng: random.Random, architecture: UNetArchitecture, count: int) -> list[Filter]:
    left = dict(architecture.layers)
    chosen: set[tuple[str, int]] = set()
    while len(chosen) < count and any(width > 1 for width in left.values()):
        layer = rng.choice([name for name, width in left.items() if width > 1])
        index = rng.randrange(architecture.layers[layer])
        if (layer, index) not in chosen:
            chosen.add((layer, index))
            left[layer] -= 1
    return [Filter(*each) for each in sorted(chosen)]


def assert_same_output(pruned: UNet, silenced: Silenced, dims: int) -> None:
    image = torch.randn(2, 2, *SIZES[dims])
    with torch.no_grad():
        expected, found = silenced.model(image), pruned(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), steps=st.lists(st.integers(1, 4), min_size=1, max_size=8), up=st.booleans())
def test_removed_equals_masked(dims: int, seed: int, steps: list[int], up: bool) -> None:
    model = network(dims, seed, prune_upconvs=up)
    pruned, silenced, rng = copy(model), Silenced(model), random.Random(seed)
    for count in steps:
        filters = draw(rng, pruned.architecture, count)
        remove_filters(pruned, filters)
        silenced.remove(filters)
        assert_same_output(pruned, silenced, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("convs_per_level", [1, 2, 3])
def test_removed_equals_masked_down_to_one_filter_per_layer(dims: int, up: bool, convs_per_level: int) -> None:
    model = network(dims, 7, prune_upconvs=up, convs_per_level=convs_per_level)
    pruned, silenced, rng = copy(model), Silenced(model), random.Random(7)
    while pruned.architecture.prunable():
        filters = draw(rng, pruned.architecture, 1)
        remove_filters(pruned, filters)
        silenced.remove(filters)
    assert set(pruned.architecture.layers.values()) == {1}
    assert_same_output(pruned, silenced, dims)
    rebuilt = UNet(pruned.architecture)
    rebuilt.load_state_dict(pruned.state_dict())
    image = torch.randn(1, 2, *SIZES[dims])
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(image), pruned(image))


def test_third_prune_of_the_same_skip_takes_the_same_column() -> None:
    """STAMP's code removed columns 4, 3, 3 of the decoder convolution; 4 is right each time."""
    model = network(3, 0, depth=4)
    decoder = model.layer("conv17").conv
    before = decoder.weight.detach().clone()
    for _ in range(2):
        remove_filters(model, [Filter("conv2", 0)])
    torch.testing.assert_close(decoder.weight, torch.cat([before[:, :3], before[:, 5:]], dim=1))


def test_default_network_ends_after_347_single_removals_with_2800_parameters() -> None:
    model = UNet(UNetArchitecture.doubling(3, 1, 2))
    rng, removed = random.Random(0), 0
    while model.architecture.prunable():
        remove_filters(model, draw(rng, model.architecture, 1))
        removed += 1
    assert removed == 347
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_800


def test_cuts_say_where_every_entry_went() -> None:
    model = network(3, 3)
    before = {id(parameter): parameter.detach().clone() for parameter in model.parameters()}
    values = dict(before)
    for cut in remove_filters(model, [Filter("conv2", 0), Filter("conv2", 2), Filter("conv5", 4)]):
        values[id(cut.new)] = values[id(cut.old)].index_select(cut.dim, cut.kept)
    for parameter in model.parameters():
        torch.testing.assert_close(parameter.detach(), values[id(parameter)], rtol=0, atol=0)
