"""Property tests of pruning: a pruned network equals the unpruned one with the removed filters masked."""

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
    """Return a U-Net with random values in all tensors, so that a wrong slice in any of them changes the output."""
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


class Masked:
    """The unpruned network, with hooks that set the outputs of removed filters to zero after BatchNorm and dropout."""

    def __init__(self, model: UNet) -> None:
        self.model = model
        self.remaining = {name: list(range(width)) for name, width in model.architecture.layers.items()}
        self.removed: dict[str, list[int]] = {name: [] for name in self.remaining}
        for name in self.remaining:
            module = model.layer(name).dropout if name.startswith("conv") else model.upconvs[int(name[2:]) - 1]
            module.register_forward_hook(lambda _m, _i, output, name=name: self._mask(name, output))

    def _mask(self, name: str, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, self.removed[name]] = 0
        return output

    def remove(self, filters: list[Filter]) -> None:
        """Mask filters whose channels are counted as in the pruned network."""
        for layer, index, *_ in sorted(filters, key=lambda each: -each.channel):
            self.removed[layer].append(self.remaining[layer].pop(index))


def copy(model: UNet) -> UNet:
    """Return a copy of `model` in evaluation mode."""
    twin = UNet(model.architecture)
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def draw(rng: random.Random, architecture: UNetArchitecture, count: int) -> list[Filter]:
    """Draw at most `count` random filters that can be removed together."""
    remaining = dict(architecture.layers)
    chosen: set[tuple[str, int]] = set()
    while len(chosen) < count and any(width > 1 for width in remaining.values()):
        layer = rng.choice([name for name, width in remaining.items() if width > 1])
        index = rng.randrange(architecture.layers[layer])
        if (layer, index) not in chosen:
            chosen.add((layer, index))
            remaining[layer] -= 1
    return [Filter(*each) for each in sorted(chosen)]


def assert_same_output(pruned: UNet, masked: Masked, dims: int) -> None:
    """Assert that both networks give the same output for random images."""
    image = torch.randn(2, 2, *SIZES[dims])
    with torch.no_grad():
        expected, found = masked.model(image), pruned(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("dims", [2, 3])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**20), steps=st.lists(st.integers(1, 4), min_size=1, max_size=8), up=st.booleans())
def test_pruned_equals_masked(dims: int, seed: int, steps: list[int], up: bool) -> None:
    model = network(dims, seed, prune_upconvs=up)
    pruned, masked, rng = copy(model), Masked(model), random.Random(seed)
    for count in steps:
        filters = draw(rng, pruned.architecture, count)
        remove_filters(pruned, filters)
        masked.remove(filters)
        assert_same_output(pruned, masked, dims)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("convs_per_level", [1, 2, 3])
def test_pruned_equals_masked_down_to_one_filter_per_layer(dims: int, up: bool, convs_per_level: int) -> None:
    model = network(dims, 7, prune_upconvs=up, convs_per_level=convs_per_level)
    pruned, masked, rng = copy(model), Masked(model), random.Random(7)
    while pruned.architecture.prunable():
        filters = draw(rng, pruned.architecture, 1)
        remove_filters(pruned, filters)
        masked.remove(filters)
    assert set(pruned.architecture.layers.values()) == {1}
    assert_same_output(pruned, masked, dims)
    rebuilt = UNet(pruned.architecture)
    rebuilt.load_state_dict(pruned.state_dict())
    image = torch.randn(1, 2, *SIZES[dims])
    with torch.no_grad():
        torch.testing.assert_close(rebuilt.eval()(image), pruned(image))


def test_repeated_prunes_of_a_skip_remove_the_right_decoder_columns() -> None:
    """STAMP's code removes columns 4, 3 and 3 of the decoder convolution; column 4 is correct each time."""
    model = network(3, 0, depth=4)
    decoder = model.layer("conv17").conv
    before = decoder.weight.detach().clone()
    for _ in range(2):
        remove_filters(model, [Filter("conv2", 0)])
    torch.testing.assert_close(decoder.weight, torch.cat([before[:, :3], before[:, 5:]], dim=1))


def test_default_network_has_2800_parameters_after_347_single_removals() -> None:
    model = UNet(UNetArchitecture.doubling(3, 1, 2))
    rng, removed = random.Random(0), 0
    while model.architecture.prunable():
        remove_filters(model, draw(rng, model.architecture, 1))
        removed += 1
    assert removed == 347
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_800


def test_returned_cuts_map_every_old_entry_to_its_new_place() -> None:
    model = network(3, 3)
    before = {id(parameter): parameter.detach().clone() for parameter in model.parameters()}
    values = dict(before)
    for cut in remove_filters(model, [Filter("conv2", 0), Filter("conv2", 2), Filter("conv5", 4)]):
        values[id(cut.new)] = values[id(cut.old)].index_select(cut.dim, cut.kept)
    for parameter in model.parameters():
        torch.testing.assert_close(parameter.detach(), values[id(parameter)], rtol=0, atol=0)
