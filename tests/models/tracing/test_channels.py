"""Channels that belong together, in modules of many structures; Torch-Pruning's graph is the oracle where it works."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_pruning
from monai.networks.nets import BasicUNet, DynUNet
from torch import Tensor, nn

from stampbench.models.tracing.channels import NetworkChannels, find_channels


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


class Net(nn.Module):
    """A stem with 4 channels, something with 4 channels in and out, and a head."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        self.stem, self.head = conv(1, 4), conv(4, 2, 1)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.middle(self.stem(x).relu()))

    def middle(self, x: Tensor) -> Tensor:
        return x


def channels_of(net: nn.Module) -> NetworkChannels:
    return find_channels(net, torch.zeros(2, 1, 16, 16))


def test_a_chain_of_convolutions_has_a_layer_each() -> None:
    found = channels_of(Net())
    assert found.layers == {"stem": 4}
    assert found.places == {("stem.weight", 0): (("stem", 4),), ("stem.bias", 0): (("stem", 4),),
                            ("head.weight", 1): (("stem", 4),)}  # fmt: skip
    assert found.readers == {"head": (("stem", 4),)}
    assert found.writers == {"stem": ("stem",)}


def test_an_addition_makes_one_layer_of_two_convolutions() -> None:
    class Residual(Net):
        def middle(self, x: Tensor) -> Tensor:
            return x + self.second(self.first(x).relu())

    found = channels_of(Residual(first=conv(4, 6), second=conv(6, 4)))
    assert found.layers == {"stem": 4, "first": 6}
    assert found.writers["stem"] == ("stem", "second")


def test_a_concatenation_has_a_segment_for_each_part() -> None:
    class Dense(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.join(torch.cat([self.branch(x), x], 1))

    found = channels_of(Dense(branch=conv(4, 3), join=conv(7, 4)))
    assert found.readers["join"] == (("branch", 3), ("stem", 4))
    assert found.places["join.weight", 1] == (("branch", 3), ("stem", 4))


def test_an_addition_to_a_concatenation_splits_a_layer() -> None:
    class Split(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.join(self.wide(x) + torch.cat([x, self.branch(x)], 1))

    found = channels_of(Split(wide=conv(4, 7), branch=conv(4, 3), join=conv(7, 4)))
    # The first four channels of `wide` are those of the stem, the others those of `branch`.
    assert found.layers == {"stem": 4, "wide": 3, "join": 4}
    assert found.places["wide.weight", 0] == (("stem", 4), ("wide", 3))
    assert found.writers["wide"] == ("wide", "branch")


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4), nn.InstanceNorm2d(4, affine=True), nn.GroupNorm(4, 4), nn.PReLU(4), nn.Dropout2d()]
)
def test_what_treats_channels_alone_hands_them_on(norm: nn.Module) -> None:
    class Normed(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.norm(x)

    found = channels_of(Normed(norm=norm))
    assert found.layers == {"stem": 4}
    tensors = [name for name, value in norm.state_dict().items() if value.ndim == 1]
    assert {name for name, _ in found.places if name.startswith("norm")} == {f"norm.{name}" for name in tensors}


@pytest.mark.parametrize(
    "mixer",
    [
        nn.GroupNorm(2, 4),
        nn.GroupNorm(4, 4, affine=False),
        nn.LayerNorm([4, 16, 16]),
        nn.Softmax(1),
        conv(4, 4, groups=2),
        nn.ChannelShuffle(2),
        nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (16, 16))),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_mixes_channels_pins_them(mixer: nn.Module) -> None:
    class Mixed(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.mixer(x)

    assert channels_of(Mixed(mixer=mixer)).layers == {}


def test_a_gate_of_one_channel_stays() -> None:
    class Gated(Net):
        def middle(self, x: Tensor) -> Tensor:
            return x * self.gate(x).sigmoid()

    found = channels_of(Gated(gate=conv(4, 1, 1)))
    assert found.layers == {"stem": 4}
    assert "gate" in found.readers


def test_a_depthwise_convolution_belongs_to_the_layer_that_it_reads() -> None:
    class Depthwise(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.depthwise(x)

    found = channels_of(Depthwise(depthwise=conv(4, 4, groups=4)))
    assert found.layers == {"stem": 4}
    assert found.places["depthwise.weight", 0] == (("stem", 4),)
    assert "depthwise" not in found.readers


def test_a_convolution_that_is_used_twice_makes_its_inputs_equal() -> None:
    class Twice(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.same(self.same(x))

    found = channels_of(Twice(same=conv(4, 4)))
    assert found.layers == {"stem": 4}
    assert found.writers["stem"] == ("stem", "same")


def test_weights_of_two_modules_stay() -> None:
    class Tied(Net):
        def middle(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    net = Tied(first=conv(4, 4), second=conv(4, 4))
    net.second.weight = net.first.weight  # type: ignore[union-attr, assignment]
    assert channels_of(net).layers == {}


def test_a_branch_that_nothing_reads_is_not_a_layer() -> None:
    class Unread(Net):
        def middle(self, x: Tensor) -> Tensor:
            self.unread(x)
            return x

    assert channels_of(Unread(unread=conv(4, 5))).layers == {"stem": 4}


def test_heads_of_training_mode_read_channels_too() -> None:
    class Supervised(Net):
        def forward(self, x: Tensor) -> Any:
            x = self.stem(x)
            return [self.head(x), self.other(x)] if self.training else self.head(x)

    assert set(channels_of(Supervised(other=conv(4, 2))).readers) == {"head", "other"}


@pytest.mark.parametrize(
    "net",
    [
        DynUNet(2, 1, 2, [3] * 3, [1, 2, 2], [2, 2], [3, 5, 7], norm_name="batch", res_block=True),
        BasicUNet(2, 1, 2, (3, 3, 5, 7, 9, 3), norm="batch"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_layers_are_the_groups_of_torch_pruning(net: nn.Module) -> None:
    found = find_channels(net, torch.zeros(2, 1, 32, 32))
    graph = torch_pruning.DependencyGraph().build_dependency(net.eval(), torch.zeros(1, 1, 32, 32))
    for layer, width in found.layers.items():
        module = net.get_submodule(layer)
        prune = graph.get_pruner_of_module(module).prune_out_channels
        expected = set()
        for dependency, _ in graph.get_pruning_group(module, prune, list(range(width))):
            part, kind = dependency.target.module, dependency.handler.__name__
            name = next((name for name, each in net.named_modules() if each is part), "")
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                expected.add((f"{name}.weight", int(("out" in kind) == isinstance(part, nn.ConvTranspose2d))))
            elif isinstance(part, nn.BatchNorm2d):
                expected.add((f"{name}.weight", 0))
        places = {place for place, parts in found.places.items() if any(each.layer == layer for each in parts)}
        assert {place for place in places if place[0].endswith("weight")} == expected
