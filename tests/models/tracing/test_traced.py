"""Networks found by tracing: a pruned network equals the unpruned one whose readers read zeros of removed filters."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from stampbench.models.architecture import Filter
from stampbench.models.errors import ModelError
from stampbench.models.model import build, parameter_count, parse_architecture
from stampbench.models.network import Network
from stampbench.models.networks.monai import DynUNet
from stampbench.models.pruning import remove_filters
from stampbench.models.registry import NETWORKS, Entry
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.serialization import load_model, save_model
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs


class Block(nn.Module):
    """One of several structures that change the number of channels from `inputs` to `outputs`."""

    def __init__(self, kind: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = {"instance": nn.InstanceNorm2d(outputs, affine=True), "group": nn.GroupNorm(outputs, outputs)}.get(
            kind, nn.BatchNorm2d(outputs)
        )
        if kind in ("residual", "shared"):
            self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        if kind == "depthwise":
            self.second = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        if kind == "dense":
            self.second = nn.Conv2d(inputs + outputs, outputs, 1)
        if kind == "gate":
            self.second = nn.Conv2d(outputs, 1, 1)
        if kind == "squeeze":
            self.second, self.third = nn.Conv2d(outputs, 2, 1), nn.Conv2d(2, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.leaky_relu(self.norm(self.first(x)))
        if self.kind == "residual":
            return y + self.second(y)
        if self.kind == "shared":
            return self.second(self.second(y).relu())
        if self.kind == "depthwise":
            return self.second(y)
        if self.kind == "dense":
            return self.second(torch.cat([x, y], 1))
        if self.kind == "gate":
            return y * self.second(y).sigmoid()
        if self.kind == "squeeze":
            return y * self.third(self.second(nn.functional.adaptive_avg_pool2d(y, 1)).relu()).sigmoid()
        return y


KINDS = ("plain", "instance", "group", "residual", "shared", "depthwise", "dense", "gate", "squeeze")


class Blocks(nn.Module):
    """Blocks at the full size and at half of it, joined by a skip connection."""

    def __init__(self, kinds: tuple[str, ...], out_channels: int) -> None:
        super().__init__()
        widths = [1, 4, 3, 5]
        self.down = nn.ModuleList(map(Block, kinds[:3], widths, widths[1:]))
        self.up = nn.ConvTranspose2d(5, 3, 2, stride=2)
        self.last = Block(kinds[3], 3 + 4, 4)
        self.head = nn.Conv2d(4, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down[0](x)
        low = self.down[2](self.down[1](nn.functional.max_pool2d(skip, 2)))
        return self.head(self.last(torch.cat([self.up(low), skip], 1)))


class RandomBlocks(Network, frozen=True):
    """Blocks of given kinds."""

    kinds: tuple[str, ...] = ("plain",) * 4

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        return Blocks(self.kinds, out_channels)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    NETWORKS["random_blocks"] = Entry("", origin="a test", loaded=RandomBlocks)
    yield
    del NETWORKS["random_blocks"]


def random_model(kinds: tuple[str, ...], seed: int = 0) -> TracedModel:
    """Return a network in double precision with random values in all tensors, so that every wrong slice shows."""
    torch.manual_seed(seed)
    model = build(TracedArchitecture.unpruned("random_blocks", RandomBlocks(kinds=kinds), 2, 1, 2))
    assert isinstance(model, TracedModel)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            (nn.init.uniform_(value, 0.5, 2) if name.endswith("running_var") else nn.init.normal_(value))
    return model.double().eval()


def read_zeros(model: TracedModel, removed: dict[str, list[int]]) -> TracedModel:
    """Return a copy whose convolutions have zero weights for what they read of some filters."""
    silent = copy.deepcopy(model)
    for path, segments in model.architecture.channels.readers.items():
        module, start = silent.net.get_submodule(path), 0
        for layer, width in segments:
            for channel in removed.get(layer or "", []):
                module.weight.data.select(0 if module.transposed else 1, start + channel).zero_()
            start += width
    return silent


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.sampled_from(KINDS)] * 4), st.integers(0, 2**32 - 1))
def test_pruned_equals_read_as_zeros(kinds: tuple[str, ...], seed: int) -> None:
    model, rng = random_model(kinds, seed), random.Random(seed)
    before = copy.deepcopy(model)
    left = {layer: list(range(width)) for layer, width in model.architecture.layers.items()}
    removed: dict[str, list[int]] = {layer: [] for layer in left}
    assert len(left) >= 5
    for _ in range(4):
        chosen = []
        for layer, channels in left.items():
            if len(channels) > 1 and rng.random() < 0.4:
                chosen.append(Filter(layer, rng.randrange(len(channels))))
                removed[layer].append(channels.pop(chosen[-1].channel))
        remove_filters(model, chosen)
    image = torch.randn(2, 1, 16, 16, dtype=torch.double)
    with torch.no_grad():
        found, expected = model(image), read_zeros(before, removed)(image)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(found, before(image))
    assert sum(each.numel() for each in model.parameters()) == parameter_count(model.architecture)


def test_twenty_prunes_survive_saving(tmp_path: Any) -> None:
    model, rng = random_model(("residual", "squeeze", "depthwise", "dense")).float(), random.Random(0)
    for _ in range(20):
        layers = [layer for layer, width in model.architecture.layers.items() if width > 1]
        if layers:
            layer = rng.choice(layers)
            remove_filters(model, [Filter(layer, rng.randrange(model.architecture.layers[layer]))])
    save_model(model, tmp_path)
    image = torch.randn(1, 1, 16, 16)
    assert torch.equal(load_model(tmp_path)(image), model(image))


def test_a_removed_filter_is_a_silenced_one() -> None:
    model = random_model(("residual", "gate", "plain", "dense"))
    image = torch.randn(3, 1, 16, 16, dtype=torch.double)
    layer = "down.0.first"
    model.net.train()  # the normalisation of InstanceNorm and BatchNorm does not see what is silenced
    for norm in (each for each in model.modules() if isinstance(each, nn.BatchNorm2d)):
        norm.eval()
    pruned = copy.deepcopy(model)
    remove_filters(pruned, [Filter(layer, 2)])
    model.training = True
    model.set_dropout({layer: 0.5})
    with torch.no_grad():
        model(image)
    mask = torch.tensor([1.0, 1, 0, 1], dtype=torch.double).unsqueeze(1).expand(4, 3)
    model.filters._mask = lambda segment, x: mask if segment.layer == layer else x.new_ones(segment.width, len(x))  # type: ignore[method-assign]
    with torch.no_grad():
        assert torch.allclose(model(image), pruned(image))


def test_dropout_silences_whole_filters_for_all_their_readers() -> None:
    model = random_model(("plain",) * 4).train()
    layer = "down.0.first"  # read at half the size, and by the last block
    seen: dict[str, Tensor] = {}
    readers = [
        path for path, parts in model.architecture.channels.readers.items() if any(p.layer == layer for p in parts)
    ]
    assert readers == ["down.1.first", "last.first"]
    model.set_dropout({layer: 0.5})
    for path in readers:
        model.net.get_submodule(path).register_forward_pre_hook(lambda _, x, path=path: seen.update({path: x[0]}))
    torch.manual_seed(1)
    model(torch.randn(50, 1, 16, 16, dtype=torch.double))
    gone = [(seen[path][:, -4:].flatten(2) == 0).all(2) for path in readers]
    assert torch.equal(*gone)
    share = gone[0].double().mean().item()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / gone[0].numel())
    assert model.dropout_probabilities()[layer] == 0.5
    model.eval()
    model(torch.randn(50, 1, 16, 16, dtype=torch.double))
    assert not (seen["down.1.first"].flatten(2) == 0).all(2).any()


def test_importances_see_what_the_next_convolution_reads() -> None:
    model = random_model(("plain", "residual", "dense", "gate"))
    images, labels = torch.randn(3, 1, 16, 16, dtype=torch.double), torch.zeros(3, 16, 16, dtype=torch.long)
    inputs = ImportanceInputs(model, [(images, labels)], nn.functional.cross_entropy, np.random.default_rng(0))
    read: dict[str, Tensor] = {}
    for path in ("down.1.first", "last.first"):
        model.net.get_submodule(path).register_forward_pre_hook(lambda _, x, path=path: read.update({path: x[0]}))
    with torch.no_grad():
        model(images)
    scores = IMPORTANCES["l2"].score(inputs)
    expected = read["down.1.first"].flatten(2).norm(dim=2).mean(0)
    assert scores["down.0.first"] == pytest.approx(expected.tolist())
    assert {layer: len(each) for layer, each in scores.items()} == dict(model.architecture.layers)
    upsampled = read["last.first"][:, :3].flatten(2).norm(dim=2).mean(0)
    assert scores["up"] == pytest.approx(upsampled.tolist())
    weights = IMPORTANCES["weight_l2"].score(inputs)
    net = model.net
    both = torch.cat([net.down[1].first.weight.flatten(1), net.down[1].second.weight.flatten(1)], 1)  # type: ignore[index, union-attr]
    assert weights["down.1.first"] == pytest.approx(both.norm(dim=1).tolist())


def test_taylor_is_the_change_of_the_loss_along_the_filter() -> None:
    model = random_model(("plain",) * 4)
    images, labels = torch.randn(2, 1, 16, 16, dtype=torch.double), torch.randint(0, 2, (2, 16, 16))
    inputs = ImportanceInputs(model, [(images, labels)], nn.functional.cross_entropy, np.random.default_rng(0))
    scores = IMPORTANCES["taylor"].score(inputs)["down.2.first"]
    losses = []
    for factor in (1 - 1e-5, 1 + 1e-5):
        scaled = copy.deepcopy(model)
        scaled.net.up.weight.data[2] *= factor  # type: ignore[index, union-attr]
        losses.append(nn.functional.cross_entropy(scaled(images), labels).item())
    # Scaling what is read by 1 + h changes the loss by h · Σ activation · gradient; the score is a mean over voxels.
    assert scores[2] == pytest.approx(abs(losses[1] - losses[0]) / 2e-5 / (2 * 8 * 8), rel=1e-4)


def test_an_architecture_is_read_as_it_was_written() -> None:
    architecture = TracedArchitecture.unpruned("dynunet", DynUNet(f=2, depth=2), 3, 1, 3)
    pruned = architecture.without([Filter("bottleneck.conv1.conv", 0)])
    assert parse_architecture(pruned.model_dump_json()) == pruned
    assert pruned.layers["bottleneck.conv1.conv"] == 7
    assert pruned.divisors == (4, 4, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "os"}, "network 'os' is not registered"),
        ({"name": "os:system"}, "network 'os:system' is not registered"),
        ({"network": {"f": 0}}, "f"),
        ({"network": {"g": 1}}, "g"),
        ({"filters": (1,)}, "network 'dynunet' has 12 prunable layers, not 1"),
        ({"filters": (3,) * 12}, "layer 'input_block.conv1.conv' has at most 2 filters, not 3"),
        ({"filters": (0,) * 12}, "greater than or equal to 1"),
    ],
)
def test_a_damaged_architecture_is_refused(change: dict[str, Any], message: str) -> None:
    values = TracedArchitecture.unpruned("dynunet", DynUNet(f=2, depth=2), 2, 1, 2).model_dump() | change
    with pytest.raises(ValidationError, match=message):
        TracedArchitecture.model_validate(values)


class Failing(Network, frozen=True):
    """A network that fails in a given way."""

    way: str = "build"

    def build(self, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        if self.way == "build":
            raise RuntimeError("no such\nthing")
        if self.way == "size":
            return nn.Conv2d(in_channels, out_channels, 3)
        if self.way == "classes":
            return nn.Conv2d(in_channels, 7, 1)
        return "nothing"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("build", r"network 'mine': cannot be built \(no such thing\)"),
        ("size", r"network 'mine': returns no logits \(1, 2, …\)"),
        ("classes", r"images of size \(384, 384\) become an output of shape \(1, 7, 384, 384\)"),
        ("nothing", "build returned str, not a PyTorch module"),
    ],
)
def test_a_network_that_fails_says_so_in_one_line(way: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        TracedArchitecture.unpruned("mine", Failing(way=way), 2, 1, 2)
    assert "\n" not in str(error.value)
